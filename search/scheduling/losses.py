"""Why trials fail alike, or lose their workers: by Ray's messages and the kernel's count of out-of-memory kills."""

import re
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path

from search.scheduling.errors import HopelessSearchError

LOST, NODE_LOST, OUT_OF_MEMORY, TIMEOUT = "lost worker", "lost node", "out of memory", "timeout"
KILL_SECONDS = 30
"""If a worker is lost within this time after an out-of-memory kill, it counts as the process that was killed."""

MAX_ALIKE_FAILURES = 5
"""Equal failures without any finished epoch after which the search ends."""


class AlikeFailures:
    """Counts the failures with the same cause."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def note(self, cause: str) -> bool:
        """Note a failure, and return whether there have been too many with its cause."""
        self._counts[cause] += 1
        return self._counts[cause] >= MAX_ALIKE_FAILURES

    def hopeless(self, cause: str, *, log: Path | None) -> HopelessSearchError:
        """The error that ends a search in which every trial fails with this cause.

        Args:
            log: that of the last trial, if it has one.
        """
        seen = "" if log is None else f"; see {log}"
        return HopelessSearchError(
            f"the first {MAX_ALIKE_FAILURES} trials all failed with the same error: {cause}{seen}"
        )


class Losses:
    """Why legs lost their workers; used if their trials get no other worker."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str]] = {}

    def note(self, leg_id: str, *, kind: str, reason: str) -> None:
        """Store why the leg lost its worker; a timeout stays the reason."""
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
    """Kind and reason of the loss of a worker.

    Args:
        error: Ray's message.
        node_is_gone: whether the node is lost; Ray may first report only that an actor is unavailable.
        killed_for_memory: whether the kernel has just killed a process of this machine, which Ray does not notice.
    """
    if re.search(r"running low on memory|OutOfMemoryError", error):
        return OUT_OF_MEMORY, "the machine ran out of memory"
    if node_is_gone or re.search(r"node (has died|died|was (terminated|preempted)|is dead)|node's death", error, re.I):
        return NODE_LOST, "its node was lost"
    if killed_for_memory:
        return OUT_OF_MEMORY, "the machine ran out of memory"
    return LOST, "killed, or crashed"


class MemoryKills:
    """Counts processes of this machine that the kernel kills because memory runs out."""

    def __init__(self, count: Callable[[], int] | None = None) -> None:
        """
        Args:
            count: returns how many there have been so far; by default the kernel's counter.
        """
        self._count = count or count_memory_kills
        self._counted = self._count()
        self._unclaimed: deque[float] = deque()

    def look(self, now: float) -> None:
        """Note the kills since the last call."""
        counted = self._count()
        self._unclaimed += [now] * (counted - self._counted)
        self._counted = counted

    def claim(self, now: float) -> bool:
        """Whether there was a recent kill that explains no other lost worker; each explains one worker."""
        self.look(now)
        while self._unclaimed and now - self._unclaimed[0] > KILL_SECONDS:
            self._unclaimed.popleft()
        if not self._unclaimed:
            return False
        self._unclaimed.popleft()
        return True


def count_memory_kills(*, cgroup: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc")) -> int:
    """Number of out-of-memory kills: in this container, or else on the whole machine; 0 if neither is known."""
    for path in (cgroup / "memory.events", proc / "vmstat"):
        try:
            found = re.search(r"^oom_kill (\d+)$", path.read_text(), re.MULTILINE)
        except OSError:
            continue
        if found:
            return int(found[1])
    return 0
