"""Runs a command of Rungwise in a process of its own, from a script or a notebook, and passes on its output."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from rungwise.packages import ROOT

DONE, SOME_FAILED = 0, 3


def call(module: str, words: Sequence[str], options: Mapping[str, Any]) -> None:
    """Run `python -m module` and wait; Ctrl-C stops it as it would stop the command.

    Args:
        options: by the names of the command's options, with underscores; None and False are left out.

    Raises:
        ValueError: the command refused what was asked.
        RuntimeError: it was broken off, or no trial finished with a usable result.
        KeyboardInterrupt: it was stopped; what is finished is saved.
    """
    terminal = _is_terminal()
    sys.stdout.flush()
    process = subprocess.Popen(
        command_line(module, [*words, *flags(options)]),
        env=environment(),
        stdout=None if terminal else subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    errors = _follow(process)
    if process.returncode in (DONE, SOME_FAILED):
        return
    last = next((line for line in reversed(errors) if line.startswith("error: ")), "")
    reason = last.removeprefix("error: ") or f"{module} ended with exit code {process.returncode}"
    if process.returncode in (128 + signal.SIGINT, -signal.SIGINT):
        raise KeyboardInterrupt("stopped; all finished epochs are saved")
    raise (ValueError if process.returncode == 2 else RuntimeError)(reason)


def command_line(module: str, words: Sequence[str]) -> list[str]:
    """The words that run a module of ours with this Python."""
    return [sys.executable, "-P", "-m", module, *words]


def environment() -> dict[str, str]:
    """The environment of such a process, in which it finds our packages."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "RUNGWISE_PROGRAM": "rungwise"}


def flags(options: Mapping[str, Any]) -> list[str]:
    """Options by name, with underscores, as words of a command line; those that are None or False are left out."""
    words: list[str] = []
    for key, value in options.items():
        name = "try" if key == "tries" else key  # a keyword of Python
        if value is None or value is False:
            continue
        if isinstance(value, list | tuple):
            words += [word for one in value for word in (f"--{name.replace('_', '-')}", str(one))]
            continue
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return words


def _is_terminal() -> bool:
    with suppress(AttributeError, OSError, ValueError):
        return sys.stdout.isatty() and sys.stdout.fileno() == 1
    return False


def _follow(process: "subprocess.Popen[str]") -> list[str]:
    """Print what the process says until it ends, and return the lines of its errors."""
    import threading

    errors: list[str] = []

    def listen() -> None:
        assert process.stderr is not None
        with process.stderr as said:
            for line in said:
                errors.append(line.rstrip())
                if not line.startswith("error: "):
                    print(line, end="", file=sys.stderr, flush=True)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    while True:
        try:
            for line in process.stdout or ():
                print(line, end="", flush=True)
            process.wait()
            break
        except KeyboardInterrupt:
            if not _is_terminal():  # a terminal sends the signal to the process as well
                process.send_signal(signal.SIGINT)
    listener.join(5)
    if process.stdout is not None:
        process.stdout.close()
    return errors
