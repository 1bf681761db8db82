"""README, tutorials and how-tos as a reader follows them: every program and every command of a page."""

import os
import re
import subprocess
import sys
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


NET = """
import torch


class Net(torch.nn.Linear):
    def __init__(self, lr):
        super().__init__(8, 2)
        self.optimizer = torch.optim.SGD(self.parameters(), lr=lr)


ROWS = torch.randn(400, 8, generator=torch.Generator().manual_seed(0))
CLASSES = (ROWS[:, 0] + 0.5 * ROWS[:, 1] > 0).long()


def train_epoch(model):
    model.optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(ROWS[:300]), CLASSES[:300]).backward()
    model.optimizer.step()


def accuracy(model):
    return (model(ROWS[300:]).argmax(1) == CLASSES[300:]).float().mean().item()
"""
"""The reader's own project, of which README's program needs three names."""
AT_HAND = {
    "--space fashion_arch --data-dir data --trials 60": "--space digits_arch --trials 2 --max-epochs 3 --name first",
    "--resume --name NAME --trials 200": "--resume --name first --trials 3",
    "runs/NAME image.png": "runs/first image.png",
    "runs/NAME": "runs/first",
}
"""What stands in README for a larger search, or one of the reader's own."""


@pytest.mark.slow
def test_the_first_screen_of_readme(tmp_path: Path):
    text = (ROOT / "README.md").read_text()
    (tmp_path / "my_project.py").write_text(NET)
    (tmp_path / "my_search.py").write_text(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0])
    searched, reported = re.findall(r"^    (rungwise .*)$", text.partition("\n## ")[0], re.MULTILINE)
    assert "40 trials: " in run(["bash", "-c", searched], tmp_path)
    run(["bash", "-c", reported], tmp_path)
    assert "lr" in (tmp_path / "runs" / "first" / "report" / "index.html").read_text()


@pytest.mark.slow
def test_the_commands_of_readme(tmp_path: Path):
    text = (ROOT / "README.md").read_text()
    (tmp_path / "my_project.py").write_text(NET)
    (tmp_path / "my_search.py").write_text(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0])
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(tmp_path / "image.png")
    commands = re.findall(r"^    (.*)$", text.partition("\n## Commands\n")[2].partition("\n## ")[0], re.MULTILINE)
    assert len(commands) == 7
    for command in commands:
        words = reduce(lambda words, swap: words.replace(*swap), AT_HAND.items(), command)
        said = run(["bash", "-c", words], tmp_path)
        if "predict" in command:
            assert "image.png" in said


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
    for page in (
        "reference/run-folder.md",
        "how-to/resume-and-extend.md",
        "how-to/compare-runs.md",
        "how-to/loggers.md",
        "how-to/ask-a-question.md",
    ):
        said |= run_page(page, tmp_path)
    assert "12 trials" in said["rungwise search --resume --name first --trials 12"]
    assert "identical to the bit" in said["rungwise rerun runs/first"]
    assert "Effects at the full budget" in said["rungwise compare first again --out comparison"]
    assert (tmp_path / "comparison" / "index.html").exists()
    assert list((tmp_path / "runs" / "logged" / "tensorboard").iterdir())
    assert "width: " in said["rungwise ask runs/asked --best 2 --seeds 2"]
