"""Signals that end a command, such as Ctrl-C.

While trials train, the first signal ends the search regularly: no further epoch begins, and everything finished is
saved. Otherwise a signal raises `Stopped`.

Python drops an exception that is raised in a weakref callback or in `__del__`. So each signal is noted as well, and
sent again if its exception was dropped. A signal that arrives while a C++ module is initialised waits until that is
done.
"""

import _thread
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import ExtensionFileLoader
from types import FrameType

from search.process.arrivals import arrived, forget_arrived, in_main_thread, listen

SIGNALLED = 128
"""Added to the number of the signal for an exit code, as shells do."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_HANG_UP_IS_IGNORED = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
"""Whether `nohup` started this process: then a closed terminal does not end it."""
_AGAIN_SECONDS = 0.05
"""Time after which a signal is sent again."""
SAME_PRESS_SECONDS = 1.0
"""Signals that follow the first so soon count as the same: a key that is pressed twice, or a signal to a group of
processes and to each of them."""
_noted: list[int] = []
"""Signals that have raised `Stopped`; the next call of `collect_signals` takes them over."""
_collected: list[int] = []
"""Signals that stop the search that runs now."""
_taking = _thread.allocate_lock()
_witnesses: list[Callable[[int], None]] = []
"""Called with the signal that is about to end this process at once."""


class Stopped(BaseException):
    """A signal ended the command. Like KeyboardInterrupt it is no Exception, so handlers of errors do not catch it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number

    @property
    def code(self) -> int:
        """The exit code for this signal."""
        return SIGNALLED + self.number


def raise_stopped() -> None:
    """From now on, a signal raises `Stopped` in the main thread; earlier ones are forgotten."""
    _noted.clear()
    _collected.clear()
    forget_arrived()
    if in_main_thread() and not isinstance(sys.unraisablehook, _Hook):
        sys.unraisablehook = _Hook(sys.unraisablehook)
    _handle(_unwind)


def raise_noted() -> None:
    """Raise `Stopped` if a signal came before and its exception was dropped."""
    if _noted:
        raise Stopped(_noted[0])


@contextmanager
def signals_kept() -> Iterator[None]:
    """Inside, a library that answers a signal with KeyboardInterrupt, as CatBoost does, raises `Stopped`."""
    try:
        yield
    except KeyboardInterrupt:
        raise_noted()
        raise


def _unwind(number: int, frame: FrameType | None) -> None:
    _disarm()
    if _begins_extension(frame):
        _thread.start_new_thread(_send_later, (number,))
        return
    _noted.append(number)
    logging.disable()  # libraries would log what they cannot close; the user gets one line
    raise Stopped(number)


def _begins_extension(frame: FrameType | None) -> bool:
    """Whether a C or C++ module is being initialised: some replace an exception, or abort the process."""
    while frame is not None:
        is_import = frame.f_code.co_filename == "<frozen importlib._bootstrap_external>"
        if is_import and isinstance(frame.f_locals.get("self"), ExtensionFileLoader):
            return True
        frame = frame.f_back
    return False


def _send_later(number: int) -> None:
    time.sleep(_AGAIN_SECONDS)
    if callable(signal.getsignal(number)):
        os.kill(os.getpid(), number)


def _disarm() -> None:
    """Cancel the alarm of Ray's own handler, which aborts the process three seconds after a signal during the start; a
    busy machine needs longer to end regularly."""
    signal.alarm(0)


class _Hook:
    """Replaces `sys.unraisablehook`: an exception that Python drops may be that of a signal."""

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
    """The signal that caused this exception: a `Stopped`, or the exit of Ray's own handler; None for others."""
    if isinstance(error, Stopped):
        return error.number
    if isinstance(error, SystemExit) and isinstance(error.code, int) and error.code in STOP_SIGNALS:
        return error.code
    return None


def reinstall_handlers() -> None:
    """Install the handlers of this process again, after a library has removed them without Python's knowledge."""
    if in_main_thread():
        for number in STOP_SIGNALS:
            if (handler := signal.getsignal(number)) is not None:  # one that Python knows
                signal.signal(number, handler)


@contextmanager
def others_overruled() -> Iterator[None]:
    """Inside and afterwards, a signal raises `Stopped`, even if a library installs a handler that exits."""
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
    """From now on, note the first signal and call `on_first`; one that comes later ends the process at once.

    An earlier signal whose exception was dropped counts as the first. Signals that reach the process within
    `SAME_PRESS_SECONDS` after the first are ignored, however late Python runs their handlers.

    Returns:
        The signals, to which new ones are added as they come.
    """
    with _taking:
        _collected[:] = _noted[:1]
        _noted.clear()

    of_first: list[int] = []
    """How many signals had arrived when those that count as the first had; empty until then."""

    def begin() -> None:
        _thread.start_new_thread(count, ())
        on_first()

    def count() -> None:
        time.sleep(SAME_PRESS_SECONDS)
        of_first.append(len(arrived()))

    def note(number: int, _frame: FrameType | None) -> None:
        if not _collected:
            _collected.append(number)
            begin()
        elif of_first and len(arrived()) > of_first[0]:
            for tell in _witnesses:
                tell(number)
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    _handle(note)
    if _collected:
        begin()
    return _collected


@contextmanager
def witnessed(tell: Callable[[int], None]) -> Iterator[None]:
    """Inside, `tell` is called with the second signal that ends this process, before it does."""
    _witnesses.append(tell)
    try:
        yield
    finally:
        _witnesses.remove(tell)


def outside_handler(say: Callable[[str], None], line: str) -> None:
    """Print a line in a thread of its own: a handler of signals may have interrupted a print."""

    def speak() -> None:
        with suppress(OSError):  # nothing reads the output any more
            say(line)

    _thread.start_new_thread(speak, ())


def first_signal() -> int | None:
    """The first signal that has reached this command; None if none.

    Python runs its handler only once the main thread is between two instructions, and a call of Ray may take a second.
    """
    return next(iter([*_collected, *_noted, *(one for one in arrived() if one in STOP_SIGNALS)]), None)


def until_stopped(main: Callable[[list[str]], int], words: list[str]) -> int:
    """Run a command and return its exit code, also if a signal comes outside the parts that the command itself handles.

    Afterwards signals are ignored, since the process is about to end.
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
    """From now on, ignore signals: everything is saved and printed, and the process is about to end."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def signals_restored() -> Iterator[None]:
    """Restore the signal handlers of the caller, and the level of its logging, at the end."""
    previous = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    hook, level = sys.unraisablehook, logging.root.manager.disable
    heard_by = signal.set_wakeup_fd(-1) if in_main_thread() else -1
    forget_arrived()
    listen()
    try:
        yield
    finally:
        if in_main_thread():
            sys.unraisablehook = hook
            logging.disable(level)
            forget_arrived()
            for number, handler in previous.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(heard_by, warn_on_full_buffer=False)


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    if in_main_thread():  # Python allows it nowhere else
        listen()
        for number in STOP_SIGNALS:
            if number != signal.SIGHUP or not _HANG_UP_IS_IGNORED:
                signal.signal(number, handler)
