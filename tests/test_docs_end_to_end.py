"""The tutorials and how-tos, block by block as a reader runs them: every program and every command of a page."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.searching import ROOT, TIMEOUT_SECONDS

DOCS = ROOT / "docs"
BLOCK = re.compile(r"```(python|sh)\n(.*?)```", re.DOTALL)


def run(words: list[str], folder: Path) -> str:
    """What one block or line says; it must end in good order."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        words, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=TIMEOUT_SECONDS,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


def run_page(name: str, folder: Path) -> dict[str, str]:
    """All blocks of a page, one after the other, in one folder; what each command printed."""
    said: dict[str, str] = {}
    for kind, text in BLOCK.findall((DOCS / name).read_text()):
        if kind == "sh":
            said |= {line: run(["bash", "-c", line], folder) for line in text.splitlines()}
        elif named := re.match(r"# (\w+\.py)\n", text):
            (folder / named[1]).write_text(text)
        else:
            (folder / "block.py").write_text(text)
            run([sys.executable, "block.py"], folder)
    return said


@pytest.mark.slow
def test_your_table(tmp_path: Path):
    said = run_page("tutorials/your-table.md", tmp_path)
    assert (tmp_path / "runs" / "houses" / "report" / "index.html").exists()
    assert len((tmp_path / "predicted.csv").read_text().splitlines()) == 3
    assert "regression" in next(text for line, text in said.items() if "--dry-run" in line)


@pytest.mark.slow
def test_your_images(tmp_path: Path):
    said = run_page("tutorials/your-images.md", tmp_path)
    assert "3 classes" in next(text for line, text in said.items() if "--dry-run" in line)
    assert "cross" in next(text for line, text in said.items() if "predict" in line)


@pytest.mark.slow
def test_what_one_does_with_a_run(tmp_path: Path):
    program = next(text for kind, text in BLOCK.findall((DOCS / "tutorials" / "your-code.md").read_text()))
    (tmp_path / "my_search.py").write_text(program)
    run(["bash", "-c", "rungwise search --space my_search.py --trials 4 --name first"], tmp_path)
    said: dict[str, str] = {}
    for page in ("reference/run-folder.md", "how-to/resume-and-extend.md", "how-to/loggers.md"):
        said |= run_page(page, tmp_path)
    assert "12 trials" in said["rungwise search --resume --name first --trials 12"]
    assert "identical to the bit" in said["rungwise rerun runs/first"]
    assert list((tmp_path / "runs" / "logged" / "tensorboard").iterdir())
