"""Reads the options of every command: tyro does the parsing, mistakes become one line."""

import contextlib
import io
import sys
from typing import Annotated, TypeVar

import tyro

BAD_INPUT = 2
Options = TypeVar("Options")
_BOX = str.maketrans("", "", "╭╮╰╯│")
_RULES = {"a whole number": "invalid literal for int() with base 10", "a number": "could not convert string to float"}

OptionalInt = Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")]
OptionalFloat = Annotated[float | None, tyro.conf.arg(metavar="FLOAT", help_behavior_hint="")]
OptionalStr = Annotated[str | None, tyro.conf.arg(metavar="STR", help_behavior_hint="")]
Flag = Annotated[bool, tyro.conf.arg(help_behavior_hint=""), tyro.conf.FlagCreatePairsOff]


def parse(kind: type[Options], argv: list[str], *, prog: str) -> Options:
    """The options that these words state.

    Raises:
        ValueError: an unknown option or a value of the wrong type, in one line.
        SystemExit: help was asked for and has been printed.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, args=argv, prog=prog)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise ValueError(f"{_one_line(said.getvalue())}; see {prog} --help") from None


def _one_line(boxed: str) -> str:
    """tyro's framed message in one line: the mistake itself, and the nearest option when there is one."""
    lines = [line.translate(_BOX).strip() for line in boxed.splitlines()[1:]]
    mistake = [line for line in lines[: _first(lines, "──")] if line]
    meant = _first(lines, "Perhaps you meant")
    hint = lines[meant + 1].split()[0] if meant + 1 < len(lines) else ""
    text = " ".join(mistake).removeprefix("Error parsing ")
    for rule, pythons in _RULES.items():
        text = text.replace(f": {pythons}:", f" must be {rule}, got")
    return text.rstrip(".") + (f" (did you mean {hint}?)" if hint else "")


def _first(lines: list[str], start: str) -> int:
    return next((i for i, line in enumerate(lines) if line.startswith(start)), len(lines))


def report_error(error: Exception) -> int:
    """Print the error in one line and return the exit code for bad input."""
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return BAD_INPUT
