"""The logs of a run: what each trial printed, and the traceback of its failure. Only the driver writes them."""

import time
from collections.abc import Callable
from pathlib import Path

from search.storage.folder import trial_name

MAX_BYTES = 1024 * 1024
"""Largest log of a trial; of a longer one the beginning and the end are kept."""


class TrialLogs:
    """Writes RUN/logs/trial-00012.log for each trial that prints something or fails."""

    def __init__(self, folder: Path | None, *, say: Callable[[str], None] = lambda text: None) -> None:
        """
        Args:
            folder: created when it is needed; None to keep nothing.
            say: called once with a notice if a log cannot be written; the search continues.
        """
        self._folder, self._say = folder, say
        self._can_write = True
        self.spool: Path | None = None
        """Folder in which the workers of this machine collect output that is not yet reported."""

    def find(self, number: int) -> Path | None:
        """The log of a trial, if it has one."""
        path = log_path(self._folder, number) if self._folder else None
        return path if path and path.exists() else None

    def append(self, number: int, text: str) -> None:
        """Add to the log of a trial."""
        if self._folder is None or not text:
            return
        path = log_path(self._folder, number)
        try:
            path.parent.mkdir(exist_ok=True)
            with path.open("ab") as file:
                file.write(text.encode("utf-8", errors="backslashreplace"))
                size = file.tell()
            if size > MAX_BYTES:
                _shorten_file(path)
        except OSError as error:
            if self._can_write:
                self._say(f"{path} cannot be written ({error.strerror or error}); the search continues without logs")
            self._can_write = False

    def lost(self, number: int, what: str) -> None:
        """Add what the trial has printed since its last report, and then what happened to its worker."""
        if self.spool is None:
            text, what = "", f"{what}; what it printed since its last report is lost"
        else:
            text = _rest(self.spool / trial_name(number))
        if text and not text.endswith("\n"):
            text += "\n"
        self.append(number, text + headline(what))


def logs_of(run_dir: Path) -> Path:
    """The folder of the logs of a run."""
    return run_dir / "logs"


def log_path(folder: Path, number: int) -> Path:
    """The path of the log of a trial, which need not exist."""
    return folder / f"{trial_name(number)}.log"


def _rest(path: Path) -> str:
    try:
        rest = path.read_bytes()
        path.unlink()
    except OSError:
        return ""  # the worker had not begun
    return shorten(rest, each=KEPT_BYTES).decode("utf-8", errors="replace")


def _shorten_file(path: Path) -> None:
    """Keep the beginning and the end, and leave room for more; by a renamed file, so that a kill loses nothing."""
    text = path.read_bytes()
    left_out = b"\n[... the middle is left out: a log keeps its beginning and its end ...]\n"
    partial = path.with_suffix(".partial")
    partial.write_bytes(text[: MAX_BYTES // 2] + left_out + text[-MAX_BYTES // 4 :])
    partial.replace(path)


KEPT_BYTES = 128 * 1024
"""Bytes that are kept of the beginning and of the end of what is printed in one epoch."""


def headline(text: str) -> str:
    """A line that Rungwise adds to a log: `--- 2026-05-01 09:30:00 UTC, TEXT ---`."""
    return f"--- {time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime())}, {text} ---\n"


def shorten(text: bytes, *, each: int) -> bytes:
    """The beginning and the end of a text, of at most `each` bytes, with a line between them that counts the rest.

    >>> shorten(b"abcdefgh", each=3)
    b'abc\\n[... 2 bytes left out ...]\\nfgh'
    """
    missing = len(text) - 2 * each
    return text if missing <= 0 else join_ends(text[:each], text[-each:], left_out=missing)


def join_ends(head: bytes, tail: bytes, *, left_out: int) -> bytes:
    return head + f"\n[... {left_out:,} bytes left out ...]\n".encode() + tail
