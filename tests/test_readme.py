"""The commands in README and docs exist, with the options they state."""

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rungwise.cli import COMMANDS as OF_RUNGWISE
from search.process.arguments import parse
from search.session.checks import check
from search.session.options import Options
from tests.searching import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES.remove(ROOT / "docs" / "reference" / "commands.md")  # made from the options
COMMAND = re.compile(r"(?:python -m|rungwise) [a-z][^'`#\n|>]*")


def code(page: Path) -> str:
    """The blocks of a page, with continued lines joined; what `ray exec` is given is among them."""
    text, fenced = page.read_text(), []
    for block in re.findall(r"```(?:sh)?\n(.*?)```", text, re.DOTALL):
        fenced.append(block)
    indented = re.findall(r"^    .*$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    lines = re.sub(r"\s*\\\n\s*", " ", "\n".join([*fenced, *indented])).splitlines()
    return "\n".join(re.sub(r"\s#.*", "", line) for line in lines)


COMMANDS = sorted({command.strip() for page in PAGES for command in COMMAND.findall(code(page))})


def test_readme_and_docs_show_commands():
    modules = {words_of(command)[0] for command in COMMANDS}
    assert {"search.run", "search.doctor", "analysis.report", "analysis.final", "benchmarks.replay"} <= modules
    assert any("--force" in command and "/shared/runs" in command for command in COMMANDS), "those of docs/cluster.md"


def words_of(command: str) -> tuple[str, list[str]]:
    """The module of a command and its words."""
    first, *words = shlex.split(command)
    if first == "python":
        return words[1], words[2:]
    module = OF_RUNGWISE[words[0]][0]
    return module, words if module == "rungwise.listing" else words[1:]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_stated_command_is_understood(command: str):
    module, words = words_of(command)
    options: Any = getattr(importlib.import_module(module), "Options", None)
    if "--help" not in words and isinstance(options, type):
        stated = parse(options, words, prog=module)
        if isinstance(stated, Options) and not names_a_file(stated):
            check(stated)


def names_a_file(options: Options) -> bool:
    """Whether a command is about a file of the reader's, which is not here."""
    return options.space.endswith((".py", ".yaml")) or bool(options.backbone or options.tries)


def test_the_options_named_in_the_readme_exist():
    flags = set(re.findall(r"`--([a-z-]+)", (ROOT / "README.md").read_text()))
    known = {name.replace("_", "-") for name in Options.__dataclass_fields__} | {"help"}
    assert flags <= known, flags - known


def test_a_module_that_docs_name_is_there_to_be_run():
    modules = {words_of(command)[0] for command in COMMANDS}
    said = subprocess.run([sys.executable, "-m", "rungwise", "--help"], capture_output=True, text=True, check=True)
    assert all(name in said.stdout for name in OF_RUNGWISE)
    assert all((ROOT / f"{module.replace('.', '/')}.py").exists() for module in modules)
