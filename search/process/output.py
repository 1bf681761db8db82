"""Printing that never waits for its reader: a thread writes, and lines that are not read are dropped and counted.

Otherwise a print into a full pipe (`less`, Ctrl-S) would block, and with it the search and all its timeouts.
"""

import atexit
import io
import os
import select
import sys
import threading
import time
from collections import deque
from typing import Any, TextIO, cast

DRAIN_SECONDS = 5.0
"""How long the end of a command waits for a reader that reads nothing."""
_MAX_LINES = 1000
"""Unread lines that are kept."""
_CHUNK_BYTES = 4096
_ORDER_SECONDS = 1.0
"""How long a write to stderr waits for stdout, so that their lines stay in order."""


class Spoken:
    """The time at which this process last printed something."""

    at = time.monotonic()

    @classmethod
    def now(cls) -> None:
        """Note that something is printed now."""
        cls.at = time.monotonic()


class PatientStream(io.TextIOBase):
    """A text stream over a descriptor whose `write` returns at once.

    If more than a thousand lines are unread, the oldest are dropped, and a line counts them.
    """

    def __init__(
        self, descriptor: int, *, encoding: str = "utf-8", errors: str = "replace", after: "PatientStream | None" = None
    ) -> None:
        """
        Args:
            after: a stream whose lines stay in order with those of this one if both are shown in the same terminal.
                Each write waits for both, but at most a second.
        """
        super().__init__()
        self._descriptor, self._encoding, self._errors, self._after = descriptor, encoding, errors, after
        self._changed = threading.Condition()
        self._chunks: deque[str] = deque()
        self._partial = ""
        self._num_lines = self._num_dropped = 0
        self._writing = self._broken = self._told = False
        self.given_up = False
        """Whether waiting for the reader at the end has failed."""
        self._thread: threading.Thread | None = None

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Of the bytes that are written."""
        return self._encoding

    @property
    def errors(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """How characters are written that the encoding lacks."""
        return self._errors

    @property
    def idle(self) -> bool:
        """Whether everything has been written."""
        return not (self._chunks or self._writing)

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        """Pass the text to the thread.

        Raises:
            BrokenPipeError: the pipe is closed; raised once.
        """
        if self._after is not None:
            self._after.drain(_ORDER_SECONDS)
        elif self._broken and not self._told:
            self._told = True
            raise BrokenPipeError("nothing reads the output any more")
        Spoken.now()
        with self._changed:
            whole, newline, rest = (self._partial + text).rpartition("\n")
            self._partial = rest
            self._leave(whole + newline)
        if self._after is not None and newline:
            self.drain(_ORDER_SECONDS)
        return len(text)

    def flush(self) -> None:
        """Pass an unfinished line to the thread as well, without waiting."""
        with self._changed:
            partial, self._partial = self._partial, ""
            self._leave(partial)

    def drain(self, seconds: float = DRAIN_SECONDS) -> bool:
        """Wait until everything is written, as long as something is read every `seconds`, and return whether it is."""
        self.flush()
        with self._changed:
            while not self.idle:
                if not self._changed.wait(seconds):
                    return False
        return True

    def _leave(self, text: str) -> None:
        if not text or self._broken:
            return
        self._chunks.append(text)
        self._num_lines += text.count("\n")
        while self._num_lines > _MAX_LINES and len(self._chunks) > 1:
            self._drop(self._chunks.popleft())
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="output", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _drop(self, text: str) -> None:
        self._num_lines -= text.count("\n")
        self._num_dropped += max(1, text.count("\n"))

    def _work(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._chunks)
                self._writing = True
                text = self._chunks.popleft()
                self._num_lines -= text.count("\n")
                if self._num_dropped:
                    text = f"({self._num_dropped} lines of output were dropped because nothing read them)\n{text}"
                    self._num_dropped = 0
            self._write(text)

    def _write(self, text: str) -> None:
        left = text.encode(self._encoding, self._errors)
        while left:
            try:
                left = left[os.write(self._descriptor, left[:_CHUNK_BYTES]) :]
            except BlockingIOError:  # another program has made the descriptor non-blocking
                select.select([], [self._descriptor], [])
            except BrokenPipeError:
                with self._changed:
                    self._broken = True
                    self._chunks.clear()
                return
            except OSError:  # a full disk or a closed terminal is no reason to stop training
                with self._changed:
                    self._num_dropped += max(1, text.count("\n"))
                return
            with self._changed:
                self._changed.notify_all()


class KeptStream:
    """A text stream that keeps an error of writing until the end of the command, so that its work continues."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.error: OSError | None = None
        """The error of the first write or flush that failed."""

    def write(self, text: str, /) -> int:
        """Write the text, or nothing once a write has failed."""
        Spoken.now()
        if self.error is None:
            try:
                return self.stream.write(text)
            except OSError as error:
                self._keep(error)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, or drop it once a write has failed."""
        if self.error is None:
            try:
                self.stream.flush()
            except OSError as error:
                self._keep(error)

    def _keep(self, error: OSError) -> None:
        self.error = error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())  # buffered text goes there when the stream is closed
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def print_to_the_end() -> None:
    """From now on, report a full disk or a closed pipe when the command ends, without interrupting it."""
    if sys.stdout is sys.__stdout__ and sys.stdout is not None:
        sys.stdout = cast(TextIO, KeptStream(sys.stdout))


def print_patiently() -> None:
    """From now on, no print of this process waits for its reader."""
    if isinstance(sys.stdout, KeptStream) and sys.stderr is sys.__stderr__:
        sys.stdout = sys.stdout.stream
    if sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
        return  # the output is collected by other code, or this function was called before
    sys.stdout.flush()
    out = PatientStream(sys.stdout.fileno(), encoding=sys.stdout.encoding)
    sys.stdout = cast(TextIO, out)
    sys.stderr = cast(TextIO, PatientStream(sys.stderr.fileno(), encoding=sys.stderr.encoding, after=out))
    atexit.register(drain_all)


def drain_all() -> None:
    """Wait until everything printed is written; a stream whose reader does not read is waited for only once."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if not isinstance(stream, PatientStream):
                stream.flush()
            elif not stream.given_up:
                stream.given_up = not stream.drain()
        except (OSError, ValueError, AttributeError):  # closed, or its reader is gone, or no stream at all
            continue
