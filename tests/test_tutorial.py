"""The tutorial on own code: its program is sound, and every command in it is one."""

import re
import sys
from pathlib import Path

import pytest

from rungwise.cli import COMMANDS
from search.diagnosis.own_code import examine_own
from search.process.arguments import parse
from search.session.options import Options
from spaces.space import load
from tests.searching import ROOT

TEXT = (ROOT / "docs" / "tutorials" / "your-code.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
COMMAND_LINES = [
    line.split() for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()
]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_search.py").write_text(PYTHON[0])
    monkeypatch.chdir(tmp_path)
    return tmp_path / "my_search.py"


def test_the_program_passes_the_doctor(program: Path):
    found = {f.what: f for f in examine_own(str(program), apart=lambda function, *given: function(*given))}
    assert not any(finding.fatal for finding in found.values()), list(map(str, found.values()))
    assert found["pause"].found.endswith("to the bit")


def test_its_test_function_gives_predictions(program: Path):
    from analysis.scores.predictions import settle
    from trainables.trainable import Setting, Source, close

    space = load(str(program))
    training = space.work.build(space.baseline, space.work.load(Source()), Setting(epochs=1, seed=0, final=True))
    training.run_epoch()
    assert space.test is not None
    assert settle(space.test(training.result(), training.run)).kind == "classification"
    close(training)


@pytest.mark.parametrize("words", COMMAND_LINES, ids=" ".join)
def test_every_command_is_one_that_there_is(words: list[str], program: Path):
    assert words[0] == "rungwise"
    assert words[1] in COMMANDS
    if words[1] == "search":
        parse(Options, words[2:], prog="rungwise search").check()


def test_the_program_in_python_asks_for_what_there_is(program: Path, monkeypatch: pytest.MonkeyPatch):
    """All but the search itself, which the end-to-end tests run."""
    monkeypatch.setattr(sys, "path", [str(program.parent), *sys.path])
    code = compile(PYTHON[1], "tutorial", "exec")
    exec(code, {"__name__": "read"})
    sys.modules.pop("my_search", None)
