"""The CPUs and the memory that this process may use, which may be less than the machine has.

A batch system, a container or `taskset` may allow fewer CPUs; more trials than that would only take turns.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from search.process.text import counted

_VARIABLES = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "PBS_NCPUS", "NCPUS", "LSB_DJOB_NUMPROC", "NSLOTS")
"""Variables in which batch systems state the CPUs of a job: SLURM (of a task, else of the node), PBS, LSF, SGE."""
_UNLIMITED = 2**60
"""In cgroups of version 1, a memory limit of at least this size means no limit."""
_BUSY = 1.5
"""The machine is overloaded if this many processes per CPU want to run."""


@dataclass(frozen=True, kw_only=True)
class Cpus:
    """CPUs that this process may use."""

    count: int
    built_in: int
    limit: str = ""
    """What limits the number; empty if nothing does."""

    def __str__(self) -> str:
        if not self.limit:
            return counted(self.count, "CPU")
        return f"{self.count} of {self.built_in} CPUs ({self.limit})"


def available_cpus() -> int:
    """Number of CPUs that this process may use: of the machine, a batch job, a container or a CPU set."""
    return allotted_cpus().count


def allotted_cpus(
    *,
    built_in: int | None = None,
    affinity: int | None = None,
    environment: Mapping[str, str] | None = None,
    membership: Path = Path("/proc/self/cgroup"),
    groups: Path = Path("/sys/fs/cgroup"),
) -> Cpus:
    """The smallest of all limits; parts of a CPU are rounded down, but not to zero. Arguments default to this process.

    Args:
        built_in: CPUs of the machine.
        affinity: CPUs on which the process may run.
        environment: variables, among them those of a batch system.
        membership: file that names the control groups of the process.
        groups: where control groups are mounted.
    """
    built_in = built_in or os.cpu_count() or 1
    if affinity is None:
        affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else built_in
    limits = [(affinity, "CPU affinity")]
    limits += [(int(quota), "CPU quota of the container") for quota in _quotas(membership, groups)]
    limits += _batch_job(os.environ if environment is None else environment)
    count, limit = min(limits)
    count = max(1, count)
    if count >= built_in:
        return Cpus(count=built_in, built_in=built_in)
    return Cpus(count=count, built_in=built_in, limit=limit)


def _batch_job(environment: Mapping[str, str]) -> list[tuple[int, str]]:
    stated = [(int(value), name) for name in _VARIABLES if (value := environment.get(name, "")).isdecimal()]
    return [limit for limit in stated if limit[0] > 0][:1]


def _quotas(membership: Path, groups: Path) -> Iterator[float]:
    """The CPU quotas of the control groups of the process, and of the groups around them."""
    for folder, version in _folders("cpu", membership, groups):
        with suppress(OSError, ValueError):
            if version == 1:
                quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            else:
                quota, period = (folder / "cpu.max").read_text().split()
            if float(quota) > 0 and float(period) > 0:  # "max" and -1 are no limit
                yield float(quota) / float(period)


def _folders(controller: str, membership: Path, groups: Path) -> Iterator[tuple[Path, int]]:
    """Folders of the process's control groups, from the innermost outwards, each with its version (1 or 2).

    The top folder is always included: a container may see its own group there, wherever it is in the host's tree.
    """
    try:
        lines = [line.split(":", 2) for line in membership.read_text().splitlines() if line.count(":") >= 2]
    except OSError:
        return
    for _, names, path in lines:
        if names and controller not in names.split(","):
            continue
        top = groups
        if names:
            top = next((p for p in (groups / names, groups / controller) if p.is_dir()), groups / controller)
        parts = [part for part in Path(path).parts if part not in ("/", "..")]
        for depth in range(len(parts), -1, -1):
            yield top.joinpath(*parts[:depth]), 1 if names else 2


def available_memory(
    *, membership: Path = Path("/proc/self/cgroup"), groups: Path = Path("/sys/fs/cgroup"), free: int | None = None
) -> int:
    """Bytes that this process and its children can still use, by the machine and by the container.

    Args:
        free: bytes that are free on the machine; measured when None.
    """
    import psutil  # slow to import, and not needed to answer a mistake

    rooms = [psutil.virtual_memory().available if free is None else free]
    for folder, version in _folders("memory", membership, groups):
        limit, used, cached = _MEMORY_FILES[version - 1]
        with suppress(OSError, ValueError):
            most = int((folder / limit).read_text())  # "max" is no number, and no limit
            if most < _UNLIMITED:
                rooms.append(most - int((folder / used).read_text()) + _statistic(folder / "memory.stat", cached))
    return max(0, min(rooms))


_MEMORY_FILES = (
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ("memory.max", "memory.current", "inactive_file"),
)


def _statistic(path: Path, name: str) -> int:
    with suppress(OSError, ValueError):
        return next((int(line.split()[1]) for line in path.read_text().splitlines() if line.split()[0] == name), 0)
    return 0


def load() -> str:
    """`load 30 on 2 CPUs` if this machine is overloaded, else an empty text."""
    try:
        waiting = os.getloadavg()[0]
    except (OSError, AttributeError):
        return ""
    cpus = available_cpus()
    return f"load {waiting:.0f} on {counted(cpus, 'CPU')}" if waiting > _BUSY * cpus else ""
