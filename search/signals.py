"""Signals that end a command: while trials train, the first stops them in good order; elsewhere it unwinds all."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from search.cli import SIGNALLED

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal ended the command; like KeyboardInterrupt it is no error, and passes what handles errors."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number

    @property
    def code(self) -> int:
        """The exit code that tells of the signal."""
        return SIGNALLED + self.number


def raise_stopped() -> None:
    """From now on a signal raises `Stopped` where the main thread is."""

    def unwind(number: int, _frame: FrameType | None) -> NoReturn:
        _disarm()
        raise Stopped(number)

    _handle(unwind)


def _disarm() -> None:
    """While Ray starts, its own handler in C++ comes first: it sets an alarm that aborts the process in three seconds,
    and a busy machine needs longer to end in good order."""
    signal.alarm(0)


@contextmanager
def others_overruled() -> Iterator[None]:
    """Inside and afterwards a signal raises `Stopped`, also where a library puts in a handler that exits."""
    try:
        yield
    except SystemExit as stop:
        if not isinstance(stop.code, int) or stop.code not in STOP_SIGNALS:
            raise
        _disarm()
        raise Stopped(stop.code) from None
    raise_stopped()


def collect_signals(on_first: Callable[[], None]) -> list[int]:
    """From now on a first signal is noted, and a second one ends the process at once.

    Returns:
        The signals that came, filled as they come.
    """
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if received:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        received.append(number)
        on_first()

    _handle(note)
    return received


def ignore_signals() -> None:
    """From now on nothing is left to stop: all is said and saved, and the process is about to end."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def signals_restored() -> Iterator[None]:
    """The handlers of the caller come back at the end."""
    previous = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            if _in_main_thread():
                signal.signal(number, handler)


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    if _in_main_thread():  # Python allows it nowhere else
        for number in STOP_SIGNALS:
            signal.signal(number, handler)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
