"""Ends what is left of a private Ray once the process that started it is gone.

    python -I -S search/reaper.py FOLDER < pipe

A killed driver takes the servers of its Ray with it, but not an agent that is starting just then: it would try for
minutes to reach a server that is gone. Imports next to nothing, since every search starts one of these.
"""

import os
import signal
import sys
from contextlib import suppress


def main() -> None:
    """Waits for the end of the pipe, then ends every process that was started with the folder on its command line."""
    folder = sys.argv[1].encode()
    sys.stdin.buffer.read()
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        with suppress(OSError):
            if pid != os.getpid() and folder in _command(pid):
                os.kill(pid, signal.SIGKILL)


def _command(pid: int) -> bytes:
    with open(f"/proc/{pid}/cmdline", "rb") as words:
        return words.read()


if __name__ == "__main__":
    main()
