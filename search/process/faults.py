"""Points at which tests inject faults: `RUNGWISE_FAULT=point:count` acts when a point is passed with that count.

Does nothing unless the variable is set. If RUNGWISE_FAULT_ONCE is a path, each fault creates a file whose name begins
with it, and acts only once over all processes, so that a retry can succeed.
"""

import ctypes
import os
import signal
from pathlib import Path


def fault_point(point: str, count: int, *, trial: int | None = None) -> None:
    """Act on the faults that the environment asks for at this point, if any.

    The variable's form is `point:count` or `point:count:action`, the action one of kill (default), raise, exit, quit,
    crash, shout, memory, loop, stop, term. `point@3` is the point in trial 3 alone. Several are separated by commas.
    """
    for fault in filter(None, os.environ.get("RUNGWISE_FAULT", "").split(",")):
        name, number, *action = fault.split(":")
        if name not in (point, f"{point}@{trial}") or int(number) != count:
            continue
        if _strikes(fault):
            _act(action[0] if action else "kill")


def _strikes(fault: str) -> bool:
    marker = os.environ.get("RUNGWISE_FAULT_ONCE")
    if not marker:
        return True
    try:
        Path(f"{marker}.{fault}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _act(action: str) -> None:
    match action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise RuntimeError("an injected fault")
        case "shout":
            raise RuntimeError("x" * 10_000_000)
        case "exit":
            raise SystemExit(3)
        case "quit":
            os._exit(1)
        case "crash":
            ctypes.string_at(0)
        case "memory":
            bytearray(2**62)
        case "loop":
            while True:
                pass
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "term":
            os.kill(os.getpid(), signal.SIGTERM)
