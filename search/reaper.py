"""Ends what is left of a private Ray once the process that started it is gone.

    python -I -S search/reaper.py FOLDER < pipe

A killed driver takes the servers of its Ray with it, but not an agent that is starting just then: it would try for
minutes to reach a server that is gone. Imports next to nothing, since every search starts one of these.
"""

import os
import signal
import sys
import time
from contextlib import suppress

_SECONDS, _PAUSE = 3.0, 0.2
"""After a kill a server of Ray may start another process before it has noticed."""


def main() -> None:
    """Waits for the end of the pipe, then ends every process that has the folder on its command line or in its
    environment: Ray's agents write their name over the former.

    A word in the pipe says that Ray was shut down: then one look is enough.
    """
    folder = sys.argv[1].encode()
    until = time.monotonic() + (0.0 if sys.stdin.buffer.read() else _SECONDS)
    _end_all(folder)
    while time.monotonic() < until:
        time.sleep(_PAUSE)
        _end_all(folder)


def _end_all(folder: bytes) -> None:
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        with suppress(OSError):
            if pid != os.getpid() and (folder in _read(pid, "cmdline") or folder in _read(pid, "environ")):
                os.kill(pid, signal.SIGKILL)


def _read(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()


if __name__ == "__main__":
    main()
