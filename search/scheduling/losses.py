"""Why trials lose their workers: what Ray says, what the kernel's out-of-memory killer leaves behind, and in words."""

import re
from collections import deque
from collections.abc import Callable
from pathlib import Path

LOST, NODE_LOST, OUT_OF_MEMORY, TIMEOUT = "lost worker", "lost node", "out of memory", "timeout"
KILL_SECONDS = 30
"""A worker that is lost this long after the kernel ended a process for its memory is taken to be that process."""


class Losses:
    """What became of the workers of legs, in case their trials get no other."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str]] = {}

    def note(self, leg_id: str, *, kind: str, reason: str) -> None:
        """The leg has lost its worker; one that was ended for its timeout is lost for that reason."""
        if self._known.get(leg_id, ("", ""))[0] != TIMEOUT:
            self._known[leg_id] = kind, reason

    def take(self, leg_id: str) -> tuple[str, str]:
        """Kind and cause of the failure of a trial whose leg has lost its last worker."""
        kind, reason = self._known.pop(leg_id, (LOST, "killed, or crashed"))
        if kind == TIMEOUT:
            return kind, reason
        if kind == OUT_OF_MEMORY:
            advice = "run fewer trials at once (--concurrent) or smaller networks (--max-weights)"
            return kind, f"{reason}, and its worker was killed; {advice}"
        return kind, f"its worker was lost too often ({reason})"


def loss(error: str, *, node_is_gone: bool = False, killed_for_memory: bool = False) -> tuple[str, str]:
    """Kind of a failure and why, in a few words, from what Ray says when a worker is lost.

    Args:
        node_is_gone: Ray may say only that an actor is unavailable, until it notices what became of the node.
        killed_for_memory: the kernel has just ended a process of this machine, of which Ray knows nothing.
    """
    if re.search(r"running low on memory|OutOfMemoryError", error):
        return OUT_OF_MEMORY, "the machine ran out of memory"
    if node_is_gone or re.search(r"node (has died|died|was (terminated|preempted)|is dead)|node's death", error, re.I):
        return NODE_LOST, "its node was lost"
    if killed_for_memory:
        return OUT_OF_MEMORY, "the machine ran out of memory"
    return LOST, "killed, or crashed"


class MemoryKills:
    """Notices processes of this machine that the kernel has ended because memory ran out."""

    def __init__(self, count: Callable[[], int] | None = None) -> None:
        """
        Args:
            count: how many there have been so far; by default what the kernel counts.
        """
        self._count = count or count_memory_kills
        self._counted = self._count()
        self._unclaimed: deque[float] = deque()

    def look(self, now: float) -> None:
        """Note those since the last look."""
        counted = self._count()
        self._unclaimed += [now] * (counted - self._counted)
        self._counted = counted

    def claim(self, now: float) -> bool:
        """Whether there was one lately that no other lost worker was; each counts for one worker."""
        self.look(now)
        while self._unclaimed and now - self._unclaimed[0] > KILL_SECONDS:
            self._unclaimed.popleft()
        if not self._unclaimed:
            return False
        self._unclaimed.popleft()
        return True


def count_memory_kills(*, cgroup: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc")) -> int:
    """Processes that the kernel has ended for want of memory: in this container, or else on the whole machine; 0 where
    neither is known."""
    for path in (cgroup / "memory.events", proc / "vmstat"):
        try:
            found = re.search(r"^oom_kill (\d+)$", path.read_text(), re.MULTILINE)
        except OSError:
            continue
        if found:
            return int(found[1])
    return 0
