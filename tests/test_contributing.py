"""The examples of CONTRIBUTING.md, each made in a copy of the tree as the text says, and used."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.searching import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PACKAGES = ("rungwise", "analysis", "search", "spaces", "trainables")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages with every example in it."""
    tree = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package)
    for block in blocks("python"):
        path = tree / block.splitlines()[0].removeprefix("# ")
        assert not path.exists()
        path.write_text(block, encoding="utf-8")
    for block in blocks("diff"):
        change(tree, block)
    return tree


def change(tree: Path, block: str) -> None:
    """Make the change of one line that a block shows."""
    name, *lines = block.splitlines()
    path = tree / name.removeprefix("--- ")
    before = "\n".join(line[1:] for line in lines if line[0] in " -")
    after = "\n".join(line[1:] for line in lines if line[0] in " +")
    text = path.read_text(encoding="utf-8")
    assert text.count(f"{before}\n") == 1
    path.write_text(text.replace(before, after), encoding="utf-8")


def test_an_addition_is_one_file_and_at_most_one_line():
    paths = [block.splitlines()[0] for block in blocks("python")]
    assert [path.split("/")[0] for path in paths] == [
        "# spaces", "# trainables", "# trainables", "# analysis", "# search", "# analysis",
    ]  # fmt: skip
    assert [re.findall(r"^\+(?!\+)", block, re.MULTILINE) for block in blocks("diff")] == [["+"]] * 4


def test_the_space_the_model_the_data_set_the_plot_the_sampler_and_the_metric_work(tree: Path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.additions"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(ROOT)},  # after the folder that it runs in
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["use_space", "use_model", "use_data", "use_plot", "use_sampler", "use_metric"]
