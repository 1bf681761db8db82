"""Signals that have reached this process, whether or not Python has run their handlers.

Python writes the number of each signal into a pair of sockets as soon as it arrives.
"""

import atexit
import os
import signal
import socket
import threading
from contextlib import suppress

_ears: list[socket.socket] = []
"""A pair, to whose second Python writes the number of a signal as soon as it reaches the process; empty before the
first handler is set, since a standard stream that is closed at the import must not be taken for it."""
_MOST_ARRIVED = 4096


def _deafen() -> None:
    """A signal to a forked child is none to this process."""
    _ears.clear()
    signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_deafen)


def arrived() -> list[int]:
    """The signals that have arrived since the last call of `forget_arrived`, in order."""
    for ear in _ears[:1]:
        with suppress(OSError):  # none has arrived, or the process ends
            return list(ear.recv(_MOST_ARRIVED, socket.MSG_PEEK))
    return []


def forget_arrived() -> None:
    """From now on, earlier signals are not listed."""
    for ear in _ears[:1]:
        with suppress(OSError):  # none has arrived, or the process ends
            while ear.recv(_MOST_ARRIVED):
                pass


def listen() -> None:
    """From now on, note the signals that arrive."""
    if not _ears:
        _ears.extend(socket.socketpair())
        for ear in _ears:
            ear.setblocking(False)
        atexit.register(_stop_listening)
    if in_main_thread():
        signal.set_wakeup_fd(_ears[1].fileno(), warn_on_full_buffer=False)


def _stop_listening() -> None:
    signal.set_wakeup_fd(-1)
    while _ears:
        _ears.pop().close()


def in_main_thread() -> bool:
    """Whether this is the thread in which Python runs handlers."""
    return threading.current_thread() is threading.main_thread()
