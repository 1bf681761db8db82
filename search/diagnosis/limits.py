"""Limits of the shell, the priority of workers, and what makes every process start slowly."""

import os
import resource
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from search.diagnosis.finding import Finding
from search.process.allotted import available_cpus, load
from search.process.disk import shared_room, size
from search.runtime.private_ray import OBJECT_STORE_BYTES, is_uncompiled, site_packages

ADDRESSES = 8e9
"""Bytes of address space that a process of Ray needs, without the shared memory; far more than it uses of memory."""
THREADS, THREADS_PER_TRIAL = 150, 40
"""Threads of a private Ray together with this process, and of each worker."""
FILES = 1024
"""Files that Ray keeps open."""


def require_limits() -> None:
    """Raise ValueError at a limit under which Ray would abort or never start."""
    finding = check_limits()
    if finding.fatal:
        raise ValueError(f"{finding.found}; first run: {finding.do}")


def check_limits(
    limits: Mapping[str, int] | None = None, *, threads: int | None = None, root: bool | None = None
) -> Finding:
    """What `ulimit` allows: addresses (-v), processes and threads (-u), open files (-n).

    Args:
        limits: option of ulimit -> its value, below zero for none; those of this process when None.
        threads: number of threads that this user has now; counted when None.
        root: whether the user is root, whose processes are not counted.
    """
    limits = _soft_limits() if limits is None else limits
    needed_addresses = ADDRESSES + shared_room(at_least=OBJECT_STORE_BYTES)
    root = _is_root() if root is None else root
    addresses, processes, files = (limits.get(option, -1) for option in ("-v", "-u", "-n"))
    if 0 <= addresses < needed_addresses:
        found = f"ulimit -v allows {size(addresses)} of address space, but Ray needs up to {size(needed_addresses)}"
        return Finding(what="limits", found=found, do="ulimit -v unlimited", fatal=True)
    if processes >= 0 and not root:
        threads = _count_threads() if threads is None else threads
        room, needed = processes - threads, THREADS + THREADS_PER_TRIAL * available_cpus()
        if room < needed:
            found = f"ulimit -u allows {max(room, 0)} more processes and threads, but a search needs about {needed}"
            do = f"ulimit -u {threads + 2 * needed}"
            return Finding(what="limits", found=found, do=do, fatal=room < THREADS)
    if 0 <= files < FILES:
        found = f"ulimit -n allows {files} open files, but Ray needs {FILES}"
        return Finding(what="limits", found=found, do=f"ulimit -n {FILES}", fatal=files < FILES // 8)
    unbound = f"; -u {processes} does not apply to root" if root and 0 <= processes < THREADS else ""
    return Finding(what="limits", found=f"ulimit -v, -u and -n are high enough{unbound}")


def _is_root() -> bool:
    """Whether this user is root of the machine; root of a container without privileges is bound by limits."""
    with suppress(OSError):
        return os.geteuid() == 0 and Path("/proc/self/uid_map").read_text().split()[:3] == ["0", "0", str(2**32 - 1)]
    return os.geteuid() == 0


def _soft_limits() -> dict[str, int]:
    names = {"-v": "RLIMIT_AS", "-u": "RLIMIT_NPROC", "-n": "RLIMIT_NOFILE"}
    limits = {option: resource.getrlimit(getattr(resource, name))[0] for option, name in names.items()}
    return {option: -1 if value == resource.RLIM_INFINITY else value for option, value in limits.items()}


def _count_threads() -> int:
    """Threads of all processes of this user, which is what `ulimit -u` counts."""
    count = 0
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.uids().real == os.getuid():
                count += process.num_threads()
    return count


def check_priority(environment: Mapping[str, str] | None = None, *, busy: str | None = None) -> Finding:
    """Whether a search would get its share of the CPUs.

    Args:
        environment: variables of this process.
        busy: the load of this machine in a few words, such as `load 30 on 2 CPUs`; measured when None.
    """
    niceness = os.nice(0)
    with suppress(ValueError):
        niceness += int((os.environ if environment is None else environment).get("RAY_worker_niceness", "0"))
    busy = load() if busy is None else busy
    do = ""
    if busy:
        do = "other programs are using this machine, so a search takes longer"
    if niceness > 0:
        do = "a search hardly advances next to other programs: unset RAY_worker_niceness, or start it without nice"
    return Finding(what="priority", found=f"workers run at nice {niceness}, {busy or 'the CPUs are free'}", do=do)


def check_start() -> Finding:
    """Whether Python keeps compiled modules: without them every process of Ray starts several times as slowly."""
    slow = [package for package in ("ray", "torch", "optuna") if is_uncompiled(package)]
    if not slow:
        return Finding(what="start", found="the modules of Ray and torch are compiled, or will be at the first import")
    found = f"PYTHONDONTWRITEBYTECODE is set, and {', '.join(slow)} are compiled again in every process"
    return Finding(what="start", found=found, do=f"run this once: python -m compileall -q {site_packages()}")
