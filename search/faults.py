"""Where tests inject crashes: `RUNGWISE_FAULT=point:count` acts when a point is passed with that count.

Does nothing unless the variable is set. A marker file (RUNGWISE_FAULT_ONCE) makes a fault strike only once over all
processes, so that a retry can succeed.
"""

import os
import signal
from pathlib import Path


def fault_point(point: str, count: int) -> None:
    """Act on the fault that the environment asks for at this point, if any.

    The variable's form is `point:count` or `point:count:action`, the action one of kill (default), raise, exit, hang.
    """
    wanted = os.environ.get("RUNGWISE_FAULT")
    if not wanted:
        return
    name, number, *action = wanted.split(":")
    if name != point or int(number) != count:
        return
    marker = os.environ.get("RUNGWISE_FAULT_ONCE")
    if marker:
        try:
            Path(marker).touch(exist_ok=False)
        except FileExistsError:
            return
    _act(action[0] if action else "kill")


def _act(action: str) -> None:
    match action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise RuntimeError("an injected fault")
        case "exit":
            raise SystemExit(3)
        case "hang":
            signal.pause()
