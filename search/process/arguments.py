"""Parses the options of every command with tyro, turns mistakes into one line, and ends commands."""

import atexit
import contextlib
import dataclasses
import functools
import io
import json
import os
import re
import sys
from collections.abc import Callable
from itertools import dropwhile, takewhile
from types import MappingProxyType
from typing import Annotated, NoReturn, TypeVar

import tyro

from search.process.answer import add_to_answer, answer, keep_stdout, restore_stdout, take_error
from search.process.output import KeptStream, drain_all, print_to_the_end
from search.process.secrets import redact_text
from search.process.signals import SIGNALLED, STOP_SIGNALS, Stopped, until_stopped
from search.process.silence import break_silence
from search.process.text import visible

DONE, BROKEN_OFF, BAD_INPUT, SOME_FAILED, NOTHING_USABLE = range(5)
"""Exit codes of every command."""
Options = TypeVar("Options")
_FRAME = "╭╮╰╯│─+-| "
_PLAINER = (
    (r"(--\S+): (?:invalid literal for int\(\).*: |.*\|INT could .* \[)(.*?)\]?", r"\1 must be a whole number, got \2"),
    (r"(--\S+): (?:could not convert .*: |.*\|FLOAT could .* \[)(.*?)\]?", r"\1 must be a number, got \2"),
    (r"\[.*\]: .* from \['(.*)'\]", r"a number is needed, got '\1'"),
    (r"invalid choice (.*) for argument '(.*)'\. Expected one of \((.*)\)", r"\2 must be one of \3, got \1"),
    (r"Missing value for argument '(.*)'\..*", r"\1 needs a value"),
    (r"Unrecognized options: (--[^,]*).*", r"there is no option \1"),
    (r"Unrecognized options: (.*)", r"unexpected word \1"),
    (r"Missing from .*?: (\S+) (.*)\. \(required\).*", r"\1 is missing: \2"),
)
"""Patterns of tyro's messages, and our wording of each."""

OptionalInt = Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")]
OptionalFloat = Annotated[float | None, tyro.conf.arg(metavar="FLOAT", help_behavior_hint="")]
OptionalStr = Annotated[str | None, tyro.conf.arg(metavar="STR", help_behavior_hint="")]
Several = Annotated[tuple[str, ...], tyro.conf.arg(metavar="STR", help_behavior_hint=""), tyro.conf.UseAppendAction]
Flag = Annotated[bool, tyro.conf.arg(help_behavior_hint=""), tyro.conf.FlagCreatePairsOff]


def parse(kind: type[Options], argv: list[str], *, prog: str) -> Options:
    """The options in these words. Every command calls this first, because it also opens closed streams.

    Raises:
        ValueError: an unknown option or a value of the wrong type, in one line.
        SystemExit: help was asked for and has been printed.
    """
    open_streams()
    prog = " ".join(words_of(prog.removeprefix("python -m "))) if prog.startswith("python -m ") else prog
    _check_lists(argv)
    argv = _respelt(kind, argv)
    said = io.StringIO()
    if not {"-h", "--help"}.isdisjoint(argv):
        _unwrap_help(kind)
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, args=argv, prog=prog)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise ValueError(f"{_one_line(said.getvalue())}; see {prog} --help") from None


def _respelt(kind: type, argv: list[str]) -> list[str]:
    """The words with `--out` for `--output`, which every command that has `--out` takes as well."""
    if "out" not in (field.name for field in dataclasses.fields(kind)):
        return argv
    end = argv.index("--") if "--" in argv else len(argv)
    return [re.sub(r"^--output(?==|$)", "--out", word) for word in argv[:end]] + argv[end:]


def _check_lists(argv: list[str]) -> None:
    """Raise ValueError if an option that lists columns is given twice: the first one would be lost."""
    for option in ("--types", "--drop"):
        if sum(word.partition("=")[0] == option for word in argv) > 1:
            raise ValueError(f"{option} is given more than once; give it once and separate the columns by commas")


def _unwrap_help(kind: type) -> None:
    """Join the lines of each option's help, so that tyro wraps it; it would keep the line breaks of the docstring."""
    from docstring_parser import parse_from_object

    texts = {said.arg_name: " ".join((said.description or "").split()) for said in parse_from_object(kind).params}
    for field in dataclasses.fields(kind):
        if texts.get(field.name):
            field.metadata = MappingProxyType({**field.metadata, "help": texts[field.name]})


def open_streams() -> None:
    """Open standard streams that the caller has closed as /dev/null.

    Otherwise the next file that is opened, a lock or a database, gets their descriptor, and libraries print into it. In
    addition, characters that the encoding of stdout lacks are escaped, as they are on stderr.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)  # gets this number, since all lower ones are open
            os.set_inheritable(nowhere, True)
        if getattr(sys, name) is None:
            stream = open(os.devnull, "w" if number else "r", encoding="utf-8")  # noqa: SIM115 - to the end
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors in ("strict", "surrogateescape"):
        sys.stdout.reconfigure(errors="backslashreplace")


def _one_line(framed: str) -> str:
    """tyro's framed message in one line: the mistake itself, and the nearest option when there is one."""
    lines = [line.strip(_FRAME) for line in framed.splitlines()][1:]  # the first is a title
    mistake = takewhile(bool, dropwhile(lambda line: not line, lines))
    text = " ".join(mistake).removeprefix("Error parsing ").rstrip(".")
    text = re.sub("'None', |, 'None'", "", text)
    for said, plainer in _PLAINER:
        text, changed = re.subn(f"^{said}$", plainer, text)
        if changed:
            break
    meant = next((i for i, line in enumerate(lines) if line.startswith("Perhaps you meant")), len(lines))
    hint = "--" + lines[meant + 1].split()[0] if meant + 1 < len(lines) else ""
    return text + (f" (did you mean {hint}?)" if hint else "")


def command(module: str) -> str:
    """How to call a command, in the form of this call: `rungwise final` or `python -m analysis.final`."""
    return " ".join(words_of(module))


def words_of(module: str) -> list[str]:
    """The words of `command`."""
    if os.environ.get("RUNGWISE_PROGRAM"):
        return ["rungwise", {"search.run": "search"}.get(module, module.rpartition(".")[2])]
    return ["python", "-m", module]


def answering(main: Callable[[list[str]], int]) -> Callable[[list[str] | None], int]:
    """Make a command answer with --json: `exit_code`, `error`, and what it gives to `add_to_answer`.

    Args:
        main: takes the words of the command and returns its exit code.
    """

    @functools.wraps(main)
    def answered(argv: list[str] | None = None) -> int:
        words = sys.argv[1:] if argv is None else argv
        open_streams()
        if "--json" in words and {"-h", "--help"}.isdisjoint(words):
            keep_stdout()
        try:
            code = main(words)
            answer({"exit_code": code, "error": _why(code)})
        except Stopped as stop:
            answer({"exit_code": stop.code, "error": str(stop)})
            raise
        except (Exception, SystemExit) as error:
            code = _code_of(error) if isinstance(error, SystemExit) else BROKEN_OFF
            answer({"exit_code": code, "error": f"{type(error).__name__}: {error_line(error)}"})
            raise
        finally:
            drain_all()
            lost = restore_stdout()
        if lost is not None:
            print(f"error: the answer cannot be written ({lost.strerror})", file=sys.stderr)
        return code if lost is None else code or BROKEN_OFF

    return answered


def answering_errors(main: Callable[[list[str]], int]) -> Callable[[list[str] | None], int]:
    """Make a command whose --json prints a form of its own print `exit_code` and `error` where it prints no result.

    Args:
        main: takes the words of the command and returns its exit code.
    """

    @functools.wraps(main)
    def answered(argv: list[str] | None = None) -> int:
        words = sys.argv[1:] if argv is None else argv
        open_streams()
        take_error()  # of an earlier command in this process
        code = main(words)
        if "--json" in words and code in (BAD_INPUT, NOTHING_USABLE):
            print(json.dumps({"exit_code": code, "error": take_error() or _why(code)}), flush=True)
        return code

    return answered


def _code_of(stop: SystemExit) -> int:
    """The exit code of a process that ends with this exception."""
    if isinstance(stop.code, int):
        return stop.code
    return BROKEN_OFF if stop.code else DONE


def _why(code: int) -> str | None:
    """What can be said of an exit code alone."""
    if code - SIGNALLED in STOP_SIGNALS:
        return str(Stopped(code - SIGNALLED))
    return "stderr has the reason" if code else None


def report_error(error: Exception) -> int:
    """Print the error in one line and return the exit code for bad input."""
    say_error(error_line(error))
    return BAD_INPUT


def say_error(reason: str) -> None:
    """Print why the command ends, and answer it with --json."""
    print(f"error: {reason}", file=sys.stderr, flush=True)
    add_to_answer(error=reason)


def error_line(error: BaseException) -> str:
    """The error in one line, without secrets and control characters."""
    reason = str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        reason = f"{str(error.filename)!r} cannot be used ({error.strerror})"
    return visible(redact_text(" ".join(reason.split())))


def report_fault(error: Exception, *, debug: bool) -> int:
    """Print an unexpected error in one line, and return the exit code of a command that failed midway.

    Raises:
        Exception: the error itself, with `debug`.
    """
    if debug:
        raise error
    reason = visible(" ".join(str(error).split())[:300]) or "no reason given"
    say_error(f"{type(error).__name__}: {reason}; add --debug to see where")
    return BROKEN_OFF


def run_command(main: Callable[[list[str]], int], words: list[str] | None = None) -> NoReturn:
    """Run a command and end the process; `words` defaults to the arguments of this process."""
    open_streams()
    print_to_the_end()
    break_silence()
    leave(until_stopped(main, sys.argv[1:] if words is None else words))


def leave(code: int) -> NoReturn:
    """End the process with this exit code, after the functions that are registered for its end.

    Python itself would then destroy torch and Ray object by object, which takes a second or two.
    """
    atexit._run_exitfuncs()
    drain_all()
    lost = sys.stdout.error if isinstance(sys.stdout, KeptStream) else None
    if lost is not None and not isinstance(lost, BrokenPipeError):  # a reader that stops reading is no error
        print(f"error: the output of this command cannot be written ({lost.strerror})", file=sys.stderr)
        code = code or BROKEN_OFF
        drain_all()
    os._exit(code)
