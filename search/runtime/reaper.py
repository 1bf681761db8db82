"""Ends what is left of a Ray once the process that started it is gone, and speaks for it if it went without a word.

    python -I -S search/runtime/reaper.py FOLDER RUN WORDS OTHERWISE < pipe

A killed driver takes the servers of its Ray with it, but not an agent that is starting just then: it would try for
minutes to reach a server that is gone. And who is killed, by hand, for want of memory or by Ray itself, cannot say how
to go on. Imports next to nothing, since every search starts one of these.
"""

import os
import signal
import sys
import time
from contextlib import suppress

_SECONDS, _PAUSE = 3.0, 0.2
"""After a kill a server of Ray may start another process before it has noticed."""
_SAY_SECONDS = 10
SAID, SHUT_DOWN = b"said", b"shut down"


def main() -> None:
    """Wait for the end of the pipe, then end every process that has the folder on its command line or in its
    environment. Ray's processes overwrite their command line with their name.

    If the driver writes `SAID` into the pipe, it has printed how to go on; if it writes `SHUT_DOWN`, it has also shut
    Ray down, and one look is enough.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # meant for the driver, which answers them
        signal.signal(number, signal.SIG_IGN)
    folder, *words = sys.argv[1:]
    kills = _count_kills()
    word = sys.stdin.buffer.read()
    until = time.monotonic() + (0.0 if word == SHUT_DOWN else _SECONDS)
    _end_all(folder.encode())
    if words and not word:
        _say(*words, out_of_memory=_count_kills() > kills)
    while time.monotonic() < until:
        time.sleep(_PAUSE)
        _end_all(folder.encode())


def _say(run: str, words: str, otherwise: str, *, out_of_memory: bool) -> None:
    """One line on the driver's stderr: the words if the file of the run is there, else the others."""
    reason = "the system ran out of memory" if out_of_memory else "by a signal such as kill -9, or by Ray itself"
    line = f"error: the process was killed ({reason}); {words if os.path.exists(run) else otherwise}\n"
    if os.isatty(2):
        line = "\x1b[?25h" + line  # the cursor, which a live view hides
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))  # nobody reads it
    signal.alarm(_SAY_SECONDS)
    with suppress(OSError):
        os.write(2, line.encode())
    signal.alarm(0)


def _count_kills() -> int:
    """How often the kernel has killed a process for want of memory; 0 where it does not say."""
    with suppress(OSError, ValueError), open("/proc/vmstat") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("oom_kill "))
    return 0


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
