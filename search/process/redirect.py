"""Leads what this process prints to a file: the streams of Python and the descriptors that C code writes to."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import TextIO

_PRINTED = (1, 2)
"""Descriptors of stdout and stderr."""


@contextmanager
def printing_to(descriptor: int, stream: TextIO) -> Iterator[None]:
    """Inside, everything that the process prints goes to one file.

    Args:
        descriptor: of the file.
        stream: writes to the same file.
    """
    flush_all()
    shown = [os.dup(number) for number in _PRINTED]
    for number in _PRINTED:
        os.dup2(descriptor, number)
    try:
        with redirect_stdout(stream), redirect_stderr(stream):
            yield
    finally:
        stream.flush()
        flush_all()
        for number, before in zip(_PRINTED, shown, strict=True):
            os.dup2(before, number)
            os.close(before)


def flush_all() -> None:
    """Write out what Python and C have buffered, so that it goes where the descriptors lead now."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # there is none, or it is closed
            stream.flush()
    ctypes.CDLL(None).fflush(None)
