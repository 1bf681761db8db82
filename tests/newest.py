"""Runs the tests against the newest release of every package, whatever upper ends pyproject.toml states.

python -m tests.newest [WORDS FOR PYTEST]      # what `make upgrade-check` runs
UPGRADE_VENV=FOLDER python -m tests.newest     # in an environment elsewhere

What is newer than the lock is listed first. Then come the private parts that we use: each failure names the release,
the part, and what to do. The whole suite follows in any case.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.searching import ROOT

ENVIRONMENT = Path(os.environ.get("UPGRADE_VENV", ROOT / ".venv-newest"))
LANES = (("tests/test_private_uses.py",), ("tests",))


def requirements() -> list[str]:
    """Every requirement of the project and of its `dev` extra, without upper ends."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    stated = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    return [re.sub(r",<=?[\d.]+", "", one) for one in stated]


def releases(python: Path) -> dict[str, str]:
    """Package -> release, of all that this interpreter has."""
    program = "from importlib.metadata import distributions as d; print(*(f'{x.name}=={x.version}' for x in d()))"
    said = subprocess.run([str(python), "-c", program], capture_output=True, text=True, check=True).stdout
    return {name.lower(): version for name, version in (one.split("==") for one in said.split())}


def newer(python: Path) -> list[str]:
    """What the lock would not have installed, one line for each package."""
    locked = dict(re.findall(r"^([\w.-]+)==([\w.+!-]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    found = releases(python)
    return [
        f"{name}: {found[name]} instead of {locked[name]}"
        for name in sorted(locked)
        if found.get(name, locked[name]) != locked[name]
    ]


def main(words: list[str]) -> int:
    """The exit code of the first step that failed, or 0."""
    python = ENVIRONMENT / "bin" / "python"
    uv = str(ROOT / ".venv" / "bin" / "uv")
    install = [uv, "pip", "install", "--quiet", "--python", str(python)]
    for step in (
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(ENVIRONMENT)],
        [*install, "--upgrade", *requirements()],
        [*install, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)],
    ):
        if code := subprocess.run(step, cwd=ROOT, check=False).returncode:
            return code
    print(*(newer(python) or ["no package is newer than in requirements.lock"]), sep="\n", flush=True)
    lanes = [[str(python), "-m", "pytest", *lane, *words] for lane in LANES]
    codes = [subprocess.run(lane, cwd=ROOT, check=False).returncode for lane in lanes]
    return next(filter(None, codes), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
