"""A process that ends what is left of a private Ray when the driver is gone, and speaks for a driver that was killed.

    python -I -S search/runtime/reaper.py FOLDER RUN WORDS OTHERWISE < pipe

When a driver is killed, the servers of its Ray end, but not an agent that is just starting: it would try for minutes to
reach a server that is gone. And a driver that is killed (by hand, by the kernel or by Ray) cannot print how to
continue. Imports very little, because every search starts one of these.
"""

import os
import signal
import sys
import time
from contextlib import suppress

_SECONDS, _PAUSE = 3.0, 0.2
"""How long, and how often, processes are looked for: a server of Ray may start another one before it ends."""
_SAY_SECONDS = 10
"""How long printing may take."""
SAID, SHUT_DOWN = b"said", b"shut down"
"""What the driver writes into the pipe: it has printed how to continue; it has also shut Ray down."""
SIGNAL = b"signal "
"""What it writes before the number of a second signal, which ends it at once."""


def main() -> None:
    """Wait for the end of the pipe, then end every process that has the folder on its command line or in its
    environment. Ray's processes overwrite their command line with their name.

    If the driver writes `SAID` into the pipe, it has printed how to go on; if it writes `SHUT_DOWN`, it has also shut
    Ray down, and one look is enough. After `SIGNAL` it says that a second signal ended the driver.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # meant for the driver, which answers them
        signal.signal(number, signal.SIG_IGN)
    folder, *words = sys.argv[1:]
    kills = _count_kills()
    word = sys.stdin.buffer.read()
    until = time.monotonic() + (0.0 if word == SHUT_DOWN else _SECONDS)
    _end_all(folder.encode())
    if words and word.startswith(SIGNAL):
        _say(f"stopped at once by a second {signal.Signals(int(word[len(SIGNAL) :])).name}", *words)
    elif words and not word:
        out_of_memory = _count_kills() > kills
        reason = "the system ran out of memory" if out_of_memory else "by a signal such as kill -9, or by Ray itself"
        _say(f"error: the process was killed ({reason})", *words)
    while time.monotonic() < until:
        time.sleep(_PAUSE)
        _end_all(folder.encode())


def _say(what: str, run: str, words: str, otherwise: str) -> None:
    """Print one line on the driver's stderr: what happened, and `words` if the file `run` exists, else `otherwise`."""
    line = f"{what}; {words if os.path.exists(run) else otherwise}\n"
    if os.isatty(2):
        line = "\x1b[?25h\n" + line  # the cursor, which a live view hides; the shell has printed its prompt
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))  # if nothing reads the output
    signal.alarm(_SAY_SECONDS)
    with suppress(OSError):
        os.write(2, line.encode())
    signal.alarm(0)


def _count_kills() -> int:
    """Number of processes that the kernel has killed because memory ran out; 0 if it is not known."""
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
