"""Runs the tests against the newest release of every package, whatever upper ends pyproject.toml states.

python -m tests.newest [WORDS FOR PYTEST]      # what `make upgrade-check` runs
UPGRADE_VENV=FOLDER python -m tests.newest     # in an environment elsewhere

It first lists the packages that differ from the lock. Then it tests the private parts that we use: each failure names
the release, the part, and what to do. All tests of `make test` follow in any case. The last line is the verdict.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from tests.searching import ROOT

ENVIRONMENT = Path(os.environ.get("UPGRADE_VENV", ROOT / ".venv-newest"))
STEPS = {"private parts": ("pytest", "tests/test_private_uses.py"), "all tests": ("tests",)}
"""What is run, each a module with its words."""


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


def locked() -> dict[str, str]:
    """Package -> release, of all that the lock installs here: it has other releases for other versions of Python."""
    lines = (ROOT / "requirements.lock").read_text().replace("\\\n", "").splitlines()
    found = [Requirement(line.split(" --hash")[0]) for line in lines if re.match(r"[\w.-]+==", line)]
    return {one.name: str(one.specifier).removeprefix("==") for one in found if not one.marker or one.marker.evaluate()}


def changed(python: Path) -> list[str]:
    """The packages whose release is not that of the lock, one line for each."""
    found = releases(python)
    return [
        f"{name}: {found[name]} instead of {release}"
        for name, release in sorted(locked().items())
        if found.get(name, release) != release
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
    print(*(changed(python) or ["every package is as in requirements.lock"]), sep="\n", flush=True)
    codes = {
        name: subprocess.run([str(python), "-m", *step, *words], cwd=ROOT, check=False).returncode
        for name, step in STEPS.items()
    }
    print("newest releases:", "; ".join(f"{name} {'FAILED' if code else 'passed'}" for name, code in codes.items()))
    return next(filter(None, codes.values()), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
