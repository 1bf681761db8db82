"""Captures what a trial prints, also from C code: stdout and stderr of its process go to a file while it trains."""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from search.process.redirect import printing_to
from search.storage.logs import KEPT_BYTES, join_ends, shorten

SPOOL_BYTES = 16 * 1024 * 1024
"""If an epoch prints more than this, the middle is removed while it trains; the size is checked every second."""
_LOOK_SECONDS = 1.0


class Capture:
    """Collects what is printed in a file: a pipe could block C code that prints much."""

    def __init__(self, folder: Path | None) -> None:
        """
        Args:
            folder: where the driver finds the last output of a worker that was lost; None for a file without a name.
        """
        self._folder = folder
        self._file = _nameless()
        self._stream = os.fdopen(
            self._file, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
        )
        self._lock = threading.Lock()
        self._path: Path | None = None
        self._is_on = False

    def begin(self, name: str) -> None:
        """Start with an empty file for this trial."""
        self._path = None if self._folder is None else self._folder / name
        with suppress(OSError):  # a full disk: go on with the file of the trial before
            self._open((self._file,))

    def _open(self, descriptors: tuple[int, ...]) -> None:
        """Let these descriptors lead to a new, empty file; the stream over them stays usable."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        new = _nameless() if self._path is None else _opened(self._path)
        for number in descriptors:
            os.dup2(new, number, inheritable=number < 3)
        os.close(new)

    @contextmanager
    def captured(self) -> Iterator[None]:
        """Inside, everything that the process prints goes to the file."""
        with printing_to(self._file, self._stream):
            self._is_on, over = True, threading.Event()
            threading.Thread(target=self._bound, args=(over,), daemon=True).start()
            try:
                yield
            finally:
                over.set()
                self._is_on = False

    def end(self) -> None:
        """Collect no more."""
        self._stream.close()
        os.close(self._file)

    def take(self) -> str:
        """What was printed since the last call, shortened to both ends if it is long."""
        with self._lock:
            return self._taken().decode("utf-8", errors="replace")

    def _taken(self) -> bytes:
        """The content of the file, which is empty afterwards. While code prints, a new file takes its place."""
        old = os.dup(self._file)
        try:
            if self._is_on:
                with suppress(OSError):
                    self._open((self._file, 1, 2))
            text = shorten(os.pread(old, os.fstat(old).st_size, 0), each=KEPT_BYTES)
            if os.path.sameopenfile(old, self._file):
                os.ftruncate(old, 0)
            return text
        finally:
            os.close(old)

    def _bound(self, over: threading.Event) -> None:
        while not over.wait(_LOOK_SECONDS):
            with self._lock:
                size = os.fstat(self._file).st_size
                if size > SPOOL_BYTES:
                    ends = os.pread(self._file, KEPT_BYTES, 0), os.pread(self._file, KEPT_BYTES, size - KEPT_BYTES)
                    os.ftruncate(self._file, 0)
                    os.write(self._file, join_ends(*ends, left_out=size - 2 * KEPT_BYTES))


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)


def _nameless() -> int:
    with tempfile.TemporaryDirectory(prefix="rungwise-") as folder:
        return _opened(Path(folder) / "output")
