"""Signals that end a command: while trials train, the first stops them in good order; elsewhere it unwinds all.

Python drops an exception that is raised inside a weakref callback or `__del__`, and a signal may arrive just there. So
each signal is noted as well, and sent again when its exception was dropped.
"""

import _thread
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALLED = 128
"""Added to the number of the signal for an exit code, as shells do."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_HANG_UP_IS_IGNORED = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
"""Whether `nohup` started this process: a terminal that is closed is to end nothing."""
_AGAIN_SECONDS = 0.05
_noted: list[int] = []
"""Signals that have raised `Stopped`; taken over by whoever collects signals next."""
_collected: list[int] = []
"""Signals that stop the search that runs now."""
_taking = _thread.allocate_lock()


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
    _noted.clear()
    if _in_main_thread() and not isinstance(sys.unraisablehook, _Hook):
        sys.unraisablehook = _Hook(sys.unraisablehook)
    _handle(_unwind)


def raise_noted() -> None:
    """Raise `Stopped` if a signal came before and something has swallowed its exception."""
    if _noted:
        raise Stopped(_noted[0])


def _unwind(number: int, _frame: FrameType | None) -> NoReturn:
    _disarm()
    _noted.append(number)
    logging.disable()  # libraries log what they then cannot close; the user asked for the end and gets one line
    raise Stopped(number)


def _disarm() -> None:
    """While Ray starts, its own handler in C++ comes first: it sets an alarm that aborts the process in three seconds,
    and a busy machine needs longer to end in good order."""
    signal.alarm(0)


class _Hook:
    """In place of `sys.unraisablehook`: what Python is about to drop may be the exception of a signal."""

    def __init__(self, previous: Callable[..., object]) -> None:
        self._previous = previous

    def __call__(self, dropped: "sys.UnraisableHookArgs") -> None:
        number = _signal_of(dropped.exc_value)
        if number is None:
            self._previous(dropped)
            return
        if number not in _noted:
            _noted.append(number)
        _thread.start_new_thread(_send_again, (number,))  # a Thread would take locks that this thread may hold


def _send_again(number: int) -> None:
    time.sleep(_AGAIN_SECONDS)
    with _taking:
        if number in _noted:
            os.kill(os.getpid(), number)


def _signal_of(error: BaseException | None) -> int | None:
    """The signal that this exception stands for: ours, or the exit of Ray's own handler."""
    if isinstance(error, Stopped):
        return error.number
    if isinstance(error, SystemExit) and isinstance(error.code, int) and error.code in STOP_SIGNALS:
        return error.code
    return None


@contextmanager
def others_overruled() -> Iterator[None]:
    """Inside and afterwards a signal raises `Stopped`, also where a library puts in a handler that exits."""
    try:
        yield
    except SystemExit as stop:
        number = _signal_of(stop)
        if number is None:
            raise
        _disarm()
        raise Stopped(number) from None
    _handle(_unwind)
    raise_noted()


def collect_signals(on_first: Callable[[], None]) -> list[int]:
    """From now on a first signal is noted, and a second one ends the process at once.

    A signal that came before, and whose exception was dropped, counts as the first.

    Returns:
        The signals that came, filled as they come.
    """
    with _taking:
        _collected[:] = _noted[:1]
        _noted.clear()

    def note(number: int, _frame: FrameType | None) -> None:
        if _collected:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        _collected.append(number)
        on_first()

    _handle(note)
    if _collected:
        on_first()
    return _collected


def first_signal() -> int | None:
    """The signal that stops the search that runs now, or this command before; None if none came."""
    return next(iter([*_collected, *_noted]), None)


def until_stopped(main: Callable[[list[str]], int], words: list[str]) -> int:
    """The exit code of a command, also where a signal comes before, between or behind what the command catches itself.

    Afterwards signals are ignored: the process is about to end.
    """
    raise_stopped()
    try:
        try:
            return main(words)
        finally:
            ignore_signals()
    except Stopped as stop:
        ignore_signals()
        print(stop, file=sys.stderr)
        return stop.code


def ignore_signals() -> None:
    """From now on nothing is left to stop: all is said and saved, and the process is about to end."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def signals_restored() -> Iterator[None]:
    """The handlers of the caller, and the level of its logging, come back at the end."""
    previous = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    hook, level = sys.unraisablehook, logging.root.manager.disable
    try:
        yield
    finally:
        if _in_main_thread():
            sys.unraisablehook = hook
            logging.disable(level)
            for number, handler in previous.items():
                signal.signal(number, handler)


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    if _in_main_thread():  # Python allows it nowhere else
        for number in STOP_SIGNALS:
            if number != signal.SIGHUP or not _HANG_UP_IS_IGNORED:
                signal.signal(number, handler)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
