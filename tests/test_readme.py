"""The README's commands exist, with the options they state."""

import importlib.util
import re
import shlex

import pytest

from search.process.arguments import parse
from search.session.options import Options
from tests.searching import ROOT

COMMANDS = [
    line.split("#")[0].strip()
    for line in (ROOT / "README.md").read_text().splitlines()
    if line.startswith("    python -m ")
]


def test_the_readme_shows_commands():
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_is_understood(command: str):
    words = shlex.split(command)
    assert importlib.util.find_spec(words[2]) is not None
    if words[2] == "search.run":
        parse(Options, words[3:], prog="search.run").check()


def test_the_options_named_in_the_readme_exist():
    flags = set(re.findall(r"`--([a-z-]+)", (ROOT / "README.md").read_text()))
    known = {name.replace("_", "-") for name in Options.__dataclass_fields__} | {"help"}
    assert flags <= known, flags - known
