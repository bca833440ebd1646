"""`make audit`: known advisories on what is installed, by pip-audit and the database OSV.

pip-audit gets an environment of its own, so that it changes nothing in the one that it looks at.
Status 0: none is known; 1: some are; 2: nothing is known, since the audit could not be made.
"""

import json
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TOOL = "pip-audit==2.10.1"


def main(arguments: Sequence[str]) -> int:
    """Audits the Python that runs this; `arguments` go to pip-audit, as `--ignore-vuln ID`."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "tool" / "bin" / "python"
        venv.create(python.parents[1], with_pip=True)
        # Elsewhere than in the checkout: its requirements and settings are not the tool's.
        made = run([python, "-m", "pip", "install", "--quiet", TOOL], folder)
        if made.returncode:
            return failed(f"{TOOL} could not be installed", made.stderr)
        found = Path(folder) / "found.json"
        command: list[str | Path] = [
            python,
            "-m",
            "pip_audit",
            "--path",
            sysconfig.get_path("purelib"),
        ]
        command += ["--skip-editable", "--vulnerability-service", "osv", "--timeout", "30"]
        command += ["--progress-spinner", "off", "--format", "json", "--output", found]
        audited = run([*command, *arguments], folder)
        if not found.is_file():
            return failed("the advisory database gave no answer", audited.stderr)
        return report(json.loads(found.read_text(encoding="utf-8")))


def run(command: Sequence[str | Path], folder: str) -> "subprocess.CompletedProcess[str]":
    """Runs a command to its end; output as text."""
    return subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True)


def failed(what: str, output: str) -> int:
    """Says why there is no audit."""
    last = output.strip().rsplit("\n", 1)[-1][:300]
    print(
        f"audit failed: {what} ({last}). Nothing is known of the packages' safety; run this where"
        " the network reaches it, through a proxy (HTTPS_PROXY) or, for a copy of the database,"
        ' with make audit ARGS="--osv-url URL"',
        file=sys.stderr,
    )
    return 2


def report(content: dict[str, Any]) -> int:
    """Prints advisories and what could not be looked up; 1 where there is an advisory."""
    checked = [p for p in content["dependencies"] if "skip_reason" not in p]
    skipped = [p for p in content["dependencies"] if "skip_reason" in p]
    advisories = [(p, v) for p in checked for v in p["vulns"]]
    for package, advisory in advisories:
        fixed = ", ".join(advisory["fix_versions"]) or "no version yet"
        names = ", ".join([advisory["id"], *advisory.get("aliases", [])])
        print(f"{package['name']} {package['version']}: {names}; fixed in {fixed}")
    for package in skipped:
        print(f"not looked up: {package['name']}: {package['skip_reason']}")
    print(f"{len(advisories)} advisories on {len(checked)} packages")
    return 1 if advisories else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
