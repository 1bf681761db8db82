"""Runs the tests against the newest release of every package, whatever upper ends pyproject.toml states.

python -m tests.newest [WORDS FOR PYTEST]      # what `make upgrade-check` runs

The private parts that we use come first: they say which use broke, and what to do.
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


def main(words: list[str]) -> int:
    """The exit code of the first step that failed, or 0."""
    python = ENVIRONMENT / "bin" / "python"
    uv = str(ROOT / ".venv" / "bin" / "uv")
    install = [uv, "pip", "install", "--quiet", "--python", str(python)]
    steps = [
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(ENVIRONMENT)],
        [*install, "--upgrade", *requirements()],
        [*install, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)],
        *([str(python), "-m", "pytest", *lane, *words] for lane in LANES),
    ]
    for step in steps:
        code = subprocess.run(step, cwd=ROOT, check=False).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
