"""The set-up's own decisions; nothing here touches the network or this project's environment."""

import importlib
import re
import runpy
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
SETUP = ROOT / "tools" / "setup"
MODULES = ("installer", "environment", "lock", "steps", "audit")


@pytest.fixture
def setup_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The modules of tools/setup, which is a program and not part of the package."""
    monkeypatch.syspath_prepend(str(SETUP))
    modules = {name: importlib.import_module(name) for name in MODULES}
    assert {Path(module.__file__ or "").parent for module in modules.values()} == {SETUP}
    yield SimpleNamespace(**modules)
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def environment(setup_modules: SimpleNamespace, tmp_path: Path) -> object:
    """A made-up checkout with a made-up, usable `.venv` of Python 3.11."""
    (tmp_path / "tools").mkdir()
    shutil.copytree(SETUP, tmp_path / "tools" / "setup")
    for name in ("constraints.txt", "requirements.lock", "setup.py"):
        shutil.copy(ROOT / name, tmp_path)
    made = setup_modules.environment.Environment(tmp_path)
    (made.folder / "bin").mkdir(parents=True)
    stand_in(made.python, status=0)
    (made.folder / "bin" / "pip").write_text(f"#!{made.python}\n")
    (made.folder / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.11.7\n")
    made.packages.mkdir(parents=True)
    install(made.packages, "alpha", "1.0")
    install(made.packages, "beta", "2.0")
    return made


def stand_in(path: Path, status: int, says: str = "") -> None:
    """Writes a program that takes any words, says one thing and ends with `status`."""
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {status}\n")
    path.chmod(0o755)


def install(packages: Path, name: str, version: str) -> Path:
    """Lays a one-file package into `packages`; returns that file."""
    info = packages / f"{name}-{version}.dist-info"
    info.mkdir()
    module = packages / f"{name}.py"
    module.write_text("x = 1\n")
    compiled = f"__pycache__/{name}.cpython-311.pyc,,4096\n"  # differs from what a wheel recorded
    (info / "RECORD").write_text(f"{name}.py,sha256=abc,6\n{compiled}{info.name}/RECORD,,\n")
    return module


class TestStamp:
    def test_complete_is_current(self, setup_modules, environment):
        module = setup_modules.environment
        assert not module.is_current(environment)
        module.write_stamp(environment, complete=False)
        assert not module.is_current(environment)
        module.write_stamp(environment, complete=True)
        assert module.is_current(environment)

    @pytest.mark.parametrize(
        "name",
        [
            "constraints.txt",
            "requirements.lock",
            "setup.py",
            "tools/setup/detectron2.txt",
            "tools/setup/steps.py",
        ],
    )
    def test_any_changed_input_counts(self, setup_modules, environment, name):
        module = setup_modules.environment
        module.write_stamp(environment, complete=True)
        with (environment.root / name).open("a") as file:
            file.write("# changed\n")
        assert not module.is_current(environment)

    def test_another_python_counts(self, setup_modules, environment):
        module = setup_modules.environment
        before = module.digest(environment)
        (environment.folder / "pyvenv.cfg").write_text("version_info = 3.12.1.final.0\n")
        assert environment.version == "3.12.1"
        assert module.digest(environment) != before

    def test_removed_package_counts_but_not_another_version(self, setup_modules, environment):
        module = setup_modules.environment
        module.write_stamp(environment, complete=True)
        info = environment.packages / "beta-2.0.dist-info"
        info = info.rename(info.with_name("beta-3.0.dist-info"))
        assert module.is_current(environment)
        shutil.rmtree(info)
        assert not module.is_current(environment)

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"digest": 1}'])
    def test_damaged_stamp_is_not_current(self, setup_modules, environment, text):
        environment.stamp.write_text(text)
        assert not setup_modules.environment.is_current(environment)

    def test_up_to_date_set_up_runs_no_step(self, setup_modules, environment, monkeypatch, capsys):
        setup_modules.environment.write_stamp(environment, complete=True)
        monkeypatch.setattr(setup_modules.steps, "make_environment", pytest.fail)
        setup_modules.steps.set_up(environment)
        assert "up to date (Python 3.11.7)" in capsys.readouterr().out


class TestDamage:
    def test_whole_packages_stay(self, setup_modules, environment):
        assert setup_modules.environment.drop_damaged(environment) == []
        assert environment.distributions() == {"alpha", "beta"}

    @pytest.mark.parametrize("damage", ["shorter", "gone", "no record", "half a record"])
    def test_half_installed_package_is_forgotten(self, setup_modules, environment, damage):
        file = environment.packages / "beta.py"
        record = environment.packages / "beta-2.0.dist-info" / "RECORD"
        if damage == "shorter":
            file.write_text("x")
        elif damage == "gone":
            file.unlink()
        elif damage == "no record":
            record.unlink()
        else:
            record.write_text("beta.py,sha256=abc,6\nbeta-2.0.dist")
        (environment.packages / "~orch").mkdir()
        assert setup_modules.environment.drop_damaged(environment) == ["beta-2.0"]
        assert environment.distributions() == {"alpha"}
        assert not (environment.packages / "~orch").exists()


class TestClear:
    def test_usable_has_a_python_that_runs_and_was_not_moved(self, environment):
        assert environment.is_usable()
        script = environment.folder / "bin" / "pip"
        script.write_text("#!/old/place/.venv/bin/python\n")
        assert not environment.is_usable()
        script.write_text(f"#!{environment.python}\n")
        stand_in(environment.python, status=1)
        assert not environment.is_usable()
        environment.python.unlink()
        assert not environment.is_usable()

    def test_our_own_is_emptied_but_for_its_mark(self, setup_modules, environment):
        setup_modules.environment.write_stamp(environment, complete=False)
        setup_modules.steps.clear(environment)
        assert list(environment.folder.iterdir()) == [environment.stamp]

    @pytest.mark.parametrize("theirs", ["environment", "Detectron2"])
    def test_what_is_the_users_is_kept(self, setup_modules, environment, theirs):
        if theirs == "Detectron2":
            setup_modules.environment.write_stamp(environment, complete=False)
            install(environment.packages, "detectron2", "0.6")
        with pytest.raises(setup_modules.steps.SetupError, match=r"(?s)\.venv.*PYTHON="):
            setup_modules.steps.clear(environment)
        assert environment.packages.exists()


class TestMachine:
    def test_old_python_is_refused(self, monkeypatch):
        gate = runpy.run_path(str(SETUP / "__main__.py"), run_name="gate")
        monkeypatch.setenv("PATH", "")
        gate["require_python"](checking=False, version=(3, 10, 0))
        with pytest.raises(SystemExit, match=r"Python 3\.9\.18, and MaskUNet needs Python 3\.10"):
            gate["require_python"](checking=False, version=(3, 9, 18))

    def test_old_python_goes_on_in_a_newer_one(self, monkeypatch, tmp_path):
        gate = runpy.run_path(str(SETUP / "__main__.py"), run_name="gate")
        for name, status in (("python3.13", 127), ("python3.12", 0), ("python3.9", 0)):
            stand_in(tmp_path / name, status)
        monkeypatch.setenv("PATH", str(tmp_path))
        started: list[list[str]] = []

        def execute(path: str, words: list[str]) -> None:
            started.append([path, *words])
            raise SystemExit(0)

        monkeypatch.setattr("os.execv", execute)
        monkeypatch.setattr("sys.argv", ["tools/setup"])
        with pytest.raises(SystemExit):
            gate["require_python"](checking=False, version=(3, 8, 0))
        newer = str(tmp_path / "python3.12")  # 3.13 is there, but does not run
        assert started == [[newer, newer, "tools/setup"]]

    def test_too_small_disk_is_refused_before_anything_is_written(
        self, setup_modules, environment, monkeypatch
    ):
        monkeypatch.delenv("MASKUNET_ANY_DISK", raising=False)
        module = setup_modules.environment
        free = {"GiB": 100.0}
        monkeypatch.setattr(
            shutil, "disk_usage", lambda path: SimpleNamespace(free=free["GiB"] * module.GIB)
        )
        module.check_space(environment)
        free["GiB"] = 1.5
        before = sorted(environment.folder.rglob("*"))
        with pytest.raises(module.SetupError, match=r"1\.5 GiB are free.*TMPDIR"):
            setup_modules.steps.make_environment(environment)
        assert sorted(environment.folder.rglob("*")) == before

    def test_needs_on_one_disk_add_up(self, setup_modules, environment, monkeypatch):
        module = setup_modules.environment
        monkeypatch.setattr(module, "ENVIRONMENT_GIB", 6.0)
        monkeypatch.setattr(module, "DOWNLOADS_GIB", 3.0)
        monkeypatch.setattr(
            module,
            "written_places",
            lambda environment: [(environment.root, "a", 6.0), (environment.folder, "b", 3.0)],
        )
        free = {"GiB": 9.0}
        monkeypatch.setattr(
            shutil, "disk_usage", lambda path: SimpleNamespace(free=free["GiB"] * module.GIB)
        )
        module.check_space(environment)
        free["GiB"] = 8.9
        with pytest.raises(module.SetupError, match=r"a \(.*\) 6 GiB, b \(.*\) 3 GiB"):
            module.check_space(environment)

    def test_missing_venv_module_is_named(self, setup_modules, environment):
        with pytest.raises(
            setup_modules.steps.SetupError, match=r"lacks ensurepip.*python3\.\d+-venv"
        ):
            setup_modules.steps.create(environment, find=lambda name: name == "venv" or None)

    def test_given_environment_is_only_looked_at(self, setup_modules):
        check = setup_modules.steps.check_given
        check(find=lambda name: "found")
        with pytest.raises(
            setup_modules.steps.SetupError, match="lacks detectron2, and nothing is"
        ):
            check(find=lambda name: None if name == "detectron2" else "found")


RETRY = (
    "WARNING: Retrying (Retry(total=0)) after connection broken by"
    " 'NewConnectionError(...)': /simple/six/\n"
)
NONE = (
    "ERROR: Could not find a version that satisfies the requirement six (from versions: none)\n"
    "ERROR: No matching distribution found for six\n"
)
CONFLICT = (
    "ERROR: Cannot install None because these package versions have conflicting dependencies.\n\n"
    "The conflict is caused by:\n    maskunet 0.1.0 depends on yacs>=0.1.8\n"
    "    The user requested (constraint) yacs==0.1.8\n"
)
HASHES = "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If ...\n"


class TestPip:
    @pytest.mark.parametrize(
        ("output", "meaning"),
        [
            (RETRY + NONE, "could not be reached, and six was not found"),
            (NONE, "no package index could be reached, or it lacks six for Python 3"),
            (CONFLICT, "no package index could be reached, or it lacks yacs==0.1.8 for Python 3"),
            (RETRY + CONFLICT, "could not be reached, and yacs==0.1.8 was not found"),
            (HASHES, "sha256 is pinned"),
            (RETRY + HASHES, "sha256 is pinned"),
            ("ERROR: [Errno 28] No space left on device\n", "the disk is full"),
            ("ERROR: Something else.\n", "pip says: Something else"),
            ("", "without saying why"),
        ],
    )
    def test_failure_becomes_one_sentence(self, setup_modules, output, meaning):
        text = setup_modules.installer.explain(f"Collecting six\n{output}")
        assert meaning in text
        assert "\n" not in text

    def test_failed_run_names_its_log_and_leaves_no_stamp(self, setup_modules, environment):
        stand_in(environment.python, status=1, says="ERROR: No.")
        with pytest.raises(
            setup_modules.installer.SetupError, match=r"pip says: No\. .*setup\.log"
        ):
            setup_modules.steps.install_tools(environment)
        assert "ERROR: No." in environment.log.read_text()
        assert not setup_modules.environment.is_current(environment)

    @pytest.mark.parametrize(
        ("line", "shown"),
        [
            (
                "  Downloading torch-2.14.1-cp311.whl (554.6 MB)\n",
                "torch-2.14.1-cp311.whl (554.6 MB)",
            ),
            ("Using cached a/cudnn.whl (1.2 GB)\n", "cudnn.whl (1.2 GB)"),
            ("  Downloading six-1.17.0.whl (11 kB)\n", None),
            ("Installing collected packages: a, b, c\n", "installing 3 packages"),
            ("Collecting six\n", None),
        ],
    )
    def test_only_what_takes_long_is_shown(self, setup_modules, line, shown):
        assert setup_modules.installer.worth_showing(line) == shown


class TestDetectron2:
    @pytest.fixture
    def pip_calls(self, setup_modules, monkeypatch) -> list[list[str]]:
        calls: list[list[str]] = []
        monkeypatch.setattr(
            setup_modules.steps, "run_pip", lambda python, words, **rest: calls.append(words)
        )
        return calls

    def test_users_own_is_used_as_it_is(self, setup_modules, environment, pip_calls):
        setup_modules.steps.install_packages(environment)
        assert "--constraint" in pip_calls.pop()
        install(environment.packages, "detectron2", "0.6+cu130")
        setup_modules.steps.install_packages(environment)
        assert "--constraint" not in pip_calls.pop()  # the torch that it was built for stays
        setup_modules.steps.install_detectron2(environment)
        assert pip_calls == []

    def test_pinned_one_is_not_installed_twice(self, setup_modules, environment, pip_calls):
        install(environment.packages, "sal_detectron2", "0.7.2")
        setup_modules.steps.install_detectron2(environment)
        assert pip_calls == []

    def test_compiled_part_and_tools_stay_out(self, setup_modules, environment):
        staging = environment.folder / "staging"
        for name in ("detectron2/__init__.py", "detectron2/_C.cpython-310.so", "tools/__init__.py"):
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).write_text("")
        info = staging / "sal_detectron2-0.7.2.dist-info"
        info.mkdir()
        (info / "RECORD").write_text(
            "detectron2/__init__.py,sha256=x,0\ndetectron2/_C.cpython-310.so,sha256=x,0\n"
            "tools/__init__.py,sha256=x,0\n"
        )
        install(environment.packages, "sal_detectron2", "0.7.1")  # an older one is replaced
        setup_modules.steps.move_detectron2(staging, environment.packages)
        here = environment.packages
        assert sorted(path.name for path in (here / "detectron2").iterdir()) == ["__init__.py"]
        assert not (here / "tools").exists()
        assert [path.name for path in here.glob("sal_*.dist-info")] == [info.name]
        assert setup_modules.environment.is_whole(here / info.name)
        assert not staging.exists()


def locked_versions(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    found = [re.fullmatch(r"(\S+)==(\S+) --hash=sha256:[0-9a-f]{64}", line) for line in lines]
    assert all(found) and len(found) > 100
    return {match[1]: match[2] for match in found if match}


class TestLock:
    def test_has_a_hash_for_each_of_the_pinned_versions(self):
        locked = locked_versions((ROOT / "requirements.lock").read_text())
        lines = (ROOT / "constraints.txt").read_text().splitlines()
        pins = [Requirement(line) for line in lines if not line.startswith("#")]
        valid = [p for p in pins if not p.marker or p.marker.evaluate({"python_version": "3.11"})]
        pinned = {pin.name.lower(): str(pin.specifier).removeprefix("==") for pin in valid}
        assert {name: pinned[name] for name in locked} == locked

    def test_is_what_pip_reports_but_for_this_checkout(self, setup_modules):
        def item(name: str, **more: Any) -> dict[str, Any]:
            archive = {"archive_info": {"hashes": {"sha256": "ab" * 32}}}
            metadata = {"name": name, "version": "1.0"}
            return {"metadata": metadata, "download_info": archive, **more}

        report = {"install": [item("Mypy_Extensions"), item("a.b"), item("Mine", is_direct=True)]}
        text = setup_modules.lock.lock_text(report)
        assert f"# For: {setup_modules.lock.machine()}\n" in text
        assert [line for line in text.splitlines() if "==" in line] == [
            f"{name}==1.0 --hash=sha256:{'ab' * 32}" for name in ("a-b", "mypy-extensions")
        ]
        del report["install"][0]["download_info"]["archive_info"]
        with pytest.raises(setup_modules.installer.SetupError, match="no sha256 of mypy-ext"):
            setup_modules.lock.lock_text(report)

    def test_another_machine_is_refused_before_anything_is_written(
        self, setup_modules, environment, monkeypatch
    ):
        locked = replace(environment, locked=True)
        monkeypatch.setattr(setup_modules.lock, "machine", lambda: "CPython 3.13, linux aarch64")
        before = sorted(environment.folder.rglob("*"))
        with pytest.raises(
            setup_modules.installer.SetupError,
            match=r"for CPython 3\.11, linux x86_64, and this is CPython 3\.13, linux aarch64",
        ):
            setup_modules.steps.make_environment(locked)
        assert sorted(environment.folder.rglob("*")) == before

    def test_users_own_detectron2_is_not_broken(self, setup_modules, environment, monkeypatch):
        monkeypatch.setattr(setup_modules.lock, "machine", lambda: "CPython 3.11, linux x86_64")
        setup_modules.steps.check_lockable(environment)
        install(environment.packages, "detectron2", "0.6+cu130")
        with pytest.raises(setup_modules.installer.SetupError, match="a Detectron2 of your own"):
            setup_modules.steps.check_lockable(environment)

    def test_locked_satisfies_both_and_unlocked_is_set_up_anew(self, setup_modules, environment):
        module, locked = setup_modules.environment, replace(environment, locked=True)
        module.write_stamp(environment, complete=True)
        assert module.is_current(environment) and not module.is_current(locked)
        module.write_stamp(locked, complete=True)
        assert module.is_current(environment) and module.is_current(locked)

    def test_everything_is_asked_for_its_hash(self, setup_modules, environment, monkeypatch):
        calls: list[list[str]] = []
        monkeypatch.setattr(
            setup_modules.steps, "run_pip", lambda python, words, **rest: calls.append(words)
        )
        locked = replace(environment, locked=True)
        setup_modules.steps.install_tools(locked)
        setup_modules.steps.install_packages(locked)
        *hashed, checkout = calls
        assert len(hashed) == 2
        for words in hashed:
            assert {"--require-hashes", "--force-reinstall", "--no-deps"} <= set(words)
        tools = Path(hashed[0][-1]).read_text().splitlines()
        assert [line.split("==")[0] for line in tools] == ["pip", "setuptools"]
        assert hashed[1][-1] == str(environment.root / "requirements.lock")
        assert "--no-deps" in checkout and checkout[-2:] == ["--editable", "."]


class TestAudit:
    def test_advisories_are_printed_and_end_with_status_one(self, setup_modules, capsys):
        advisory = {"id": "CVE-1", "aliases": ["GHSA-2"], "fix_versions": ["1.1"]}
        package = {"name": "beta", "version": "1.0", "vulns": [advisory]}
        others = [
            {"name": "alpha", "version": "2.0", "vulns": []},
            {"name": "mine", "skip_reason": "editable"},
        ]
        assert setup_modules.audit.report({"dependencies": others}) == 0
        assert setup_modules.audit.report({"dependencies": [package, *others]}) == 1
        printed = capsys.readouterr().out
        assert "beta 1.0: CVE-1, GHSA-2; fixed in 1.1\n" in printed
        assert "not looked up: mine: editable" in printed
        assert "1 advisories on 2 packages" in printed

    @pytest.mark.parametrize(
        ("failing", "said"),
        [("pip", "could not be installed (No network"), ("pip_audit", "gave no answer (No net")],
    )
    def test_no_audit_is_not_a_clean_one(self, setup_modules, monkeypatch, capsys, failing, said):
        def run(command: list[Any], folder: str) -> SimpleNamespace:
            return SimpleNamespace(returncode=int(failing in command), stderr="a\nNo network\n")

        monkeypatch.setattr(setup_modules.audit, "run", run)
        monkeypatch.setattr("venv.create", lambda *words, **rest: None)
        assert setup_modules.audit.main([]) == 2
        assert said in capsys.readouterr().err


def test_ranges_admit_the_pins(monkeypatch):
    """Every requirement of setup.py is pinned once per Python, and its range admits that pin."""
    given: dict[str, Any] = {}
    monkeypatch.setattr("setuptools.setup", given.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    texts = [*given["install_requires"], *given["extras_require"]["all"]]
    wanted = [Requirement(text) for text in texts]
    assert len(wanted) > 20
    ranges = {requirement.name: requirement.specifier for requirement in wanted}
    # A GPU machine comes with its own torch, which must be accepted as it is.
    assert ranges["torch"].contains("2.11.0+cu128")
    assert ranges["torchvision"].contains("0.26.0+cu128")
    for python in ("3.10", "3.11", "3.14"):
        valid = [p for p in pins if not p.marker or p.marker.evaluate({"python_version": python})]
        versions = {pin.name.lower(): str(pin.specifier).removeprefix("==") for pin in valid}
        assert len(versions) == len(valid), "a package is pinned twice"
        for requirement in wanted:
            pin = versions[requirement.name.lower()]
            assert requirement.specifier.contains(pin), f"{requirement} does not admit {pin}"
