"""Imports run one way, and files stay small; see CONTRIBUTING.md for the reasons."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LONGEST_FILE = 300

# A part imports only parts of smaller numbers, and none beside it.
LEVELS = {
    "errors": 0,
    "digests": 0,
    "network": 1,
    "cli": 2,
    "pickle_scan": 1,
    "safe_yaml": 1,
    "keys": 1,
    "entries": 1,
    "config_files": 2,
    "config": 3,
    "layers": 1,
    "data": 4,
    "modeling": 5,
    "evaluation": 5,
    "usage": 5,
    "engine": 6,
    "report": 7,
    "inference": 8,
    "export": 8,
    "benchmark": 9,
}
# What the levels alone would allow: a report is made from results and pictures, without a model;
# layers are plain torch, for which no config and no registry exists.
FORBIDDEN = {
    "project.report": ("project.modeling", "project.engine"),
    "project.layers": ("detectron2.config", "detectron2.modeling", "detectron2.utils.registry"),
}


def imports(tree: ast.Module, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a module imports, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: None if is_package else -1]
                parents = parents[: len(parents) - node.level + 1]
                base = ".".join([*parents, *filter(None, [node.module])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def fault(module: str, imported: str) -> str | None:
    """Why a module may not import a name; None where it may."""
    if within(imported, "tools"):
        return "nothing imports tools"
    for part, names in FORBIDDEN.items():
        if within(module, part) and any(within(imported, name) for name in names):
            return f"{part} does without it"
    if not within(module, "project") or not within(imported, "project"):
        return None
    importer, target = (f"{name}.".split(".")[1] for name in (module, imported))
    if importer == target or not target:  # the package itself holds its version
        return None
    for part in (importer, target):
        if part and part not in LEVELS:
            return f"project.{part} has no level in tests/test_architecture.py"
    if not importer:
        return "`import project` alone loads nothing"
    return None if LEVELS[target] < LEVELS[importer] else "imports run the other way"


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def find_faults(root: Path) -> list[str]:
    """Every import under `root` that goes the wrong way, as `file:line: imported: why`."""
    faults = []
    for path in python_files(root, "project", "tools", "datasets", "tests"):
        relative = path.relative_to(root)
        parts = relative.with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for line, imported in imports(tree, module, is_package):
            if why := fault(module, imported):
                faults.append(f"{relative}:{line}: {imported}: {why}")
    return faults


def python_files(root: Path, *folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py"))


def test_imports_run_one_way():
    assert find_faults(ROOT) == []


def test_every_part_has_a_level():
    parts = {path.stem for path in (ROOT / "project").iterdir() if not path.name.startswith("_")}
    assert "data" in parts
    assert parts <= set(LEVELS)


def test_no_file_is_too_long():
    sizes = {
        path: len(path.read_text().splitlines()) for path in python_files(ROOT, "project", "tools")
    }
    assert len(sizes) > 20
    assert {str(path.relative_to(ROOT)): n for path, n in sizes.items() if n > LONGEST_FILE} == {}


@pytest.mark.parametrize(
    ("file", "code", "faults"),
    [
        ("project/data/a.py", "import torch\nfrom project.errors import E", []),
        (
            "project/data/a.py",
            "from project.data.b import c\nfrom .b import c\nfrom . import b",
            [],
        ),
        ("project/data/a.py", "from project import modeling", ["1: project.modeling"]),
        ("project/data/a.py", "def f():\n    import project.engine.x", ["2: project.engine.x"]),
        ("project/data/a.py", "from ..evaluation import x", ["1: project.evaluation.x"]),
        (
            "project/data/__init__.py",
            "from .a import b\nfrom ..engine import c",
            ["2: project.engine.c"],
        ),
        (
            "project/modeling/a.py",
            "from project.evaluation.b import c",
            ["1: project.evaluation.b.c"],
        ),
        ("project/evaluation/a.py", "import project.modeling", ["1: project.modeling"]),
        ("project/inference/a.py", "import project.report.b", []),
        ("project/report/a.py", "import project.inference.b", ["1: project.inference.b"]),
        ("project/report/a.py", "from project.modeling.b import c", ["1: project.modeling.b.c"]),
        ("project/layers/a.py", "from project.config import c", ["1: project.config.c"]),
        ("project/layers/a.py", "from detectron2.config import c", ["1: detectron2.config.c"]),
        ("project/engine/a.py", "import project.data.b, project.modeling, project.evaluation", []),
        ("project/engine/a.py", "from tools.score import main", ["1: tools.score.main"]),
        ("project/novel/a.py", "from project.data import b", ["1: project.data.b"]),
        ("project/engine/a.py", "import project", []),
        ("project/__init__.py", "from project.data import b", ["1: project.data.b"]),
        ("tools/a.py", "import project.report, project.inference", []),
        ("tools/a.py", "import tools.b", ["1: tools.b"]),
        ("tests/test_a.py", "import tools", ["1: tools"]),
    ],
)
def test_walker_sees(tmp_path: Path, file: str, code: str, faults: list[str]):
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(code)
    assert [":".join(f.split(":")[1:3]) for f in find_faults(tmp_path)] == faults
