"""Checks of this machine: devices, memory, folders, room on disks, versions, clock."""

import shutil
import tempfile
import time
from pathlib import Path

from search.diagnosis.finding import Finding
from search.process.allotted import allotted_cpus, available_cpus, available_memory
from search.process.disk import existing, free_space, size

MEMORY_PER_TRIAL = 1.0e9
"""Bytes of a worker with torch imported and a small data set."""
DISK_NEEDED = 1e9
"""Bytes for checkpoints and the study; a quarter of it for Ray's logs."""
SHARED_MEMORY_NEEDED = 512e6
"""Bytes in /dev/shm."""


def check_devices() -> Finding:
    """CPUs and GPUs; a GPU that torch cannot use is worth a note."""
    import torch

    cpus = allotted_cpus()
    if torch.cuda.is_available():
        names = {torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
        return Finding(what="devices", found=f"{cpus}, {torch.cuda.device_count()} GPUs ({', '.join(names)})")
    unusable = shutil.which("nvidia-smi") is not None or Path("/dev/nvidia0").exists()
    do = "there is a driver, but torch finds no GPU: install a CUDA build of torch" if unusable else ""
    return Finding(what="devices", found=f"{cpus}, no GPU", do=do)


def check_memory() -> Finding:
    """Room for at least one worker, on the machine and in the container around this process."""
    free = available_memory()
    trials = int(free / MEMORY_PER_TRIAL)
    do = "" if trials >= available_cpus() else f"run at most {max(trials, 1)} trials at once (--concurrent)"
    if trials < 1:
        do = f"a worker needs about {size(MEMORY_PER_TRIAL)}: free some memory"
    return Finding(what="memory", found=f"{size(free)} free", do=do, fatal=trials < 1)


def check_folder(folder: Path) -> Finding:
    """Whether a run can be created: a file is written, locked, renamed and removed again."""
    import fcntl

    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=existing(folder)) as scratch:
            path = Path(scratch) / "file"
            with path.open("w") as file:
                file.write("x")
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.rename(path.with_name("renamed"))
    except OSError as error:
        return Finding(
            what="run folder",
            found=f"{str(folder)!r} cannot be written ({error.strerror})",
            do="give another --runs-dir",
            fatal=True,
        )
    return Finding(what="run folder", found=f"{str(folder)!r} is writable")


def check_disk(folder: Path) -> Finding:
    """Room for checkpoints and the study."""
    return _room("free disk", folder, needed=DISK_NEEDED, do="free some space, or give another --runs-dir")


def check_scratch(folder: Path, *, needed: float) -> Finding:
    """Room for the logs and sockets of Ray."""
    return _room("temporary", folder, needed=needed / 4, do=f"free some space in {folder}: Ray keeps its logs there")


def check_shared_memory(folder: Path) -> Finding:
    """Room for the data set, which all workers of a node share."""
    do = f"make {folder} larger (docker run --shm-size=2g): otherwise Ray keeps the data on disk, which is slow"
    return _room("shared memory", folder, needed=SHARED_MEMORY_NEEDED, do=do)


def _room(what: str, folder: Path, *, needed: float, do: str) -> Finding:
    free = shutil.disk_usage(existing(folder)).free
    short = free < needed
    fatal = free < needed / 20
    return Finding(what=what, found=free_space(folder), do=do if short else "", fatal=short and fatal)


def check_versions() -> Finding:
    """Versions of Python and of the packages that results depend on; those that are known to be unsafe are fatal."""
    from search.runtime.versions import versions

    found = versions()
    missing = [name for name in ("torch", "ray", "optuna") if name not in found]
    if missing:
        return Finding(what="versions", found=f"{', '.join(missing)} missing", do="run `make search` once", fatal=True)
    old = tuple(int(part) for part in found["ray"].split(".")[:2]) < (2, 54)
    shown = ", ".join(f"{name} {found[name]}" for name in ("python", "torch", "ray", "optuna"))
    do = "Ray before 2.54 allows others to run code: install 2.54 or newer" if old else ""
    return Finding(what="versions", found=shown, do=do, fatal=old)


def check_clock() -> Finding:
    """Whether the clock is later than this release; an earlier one spoils all times, and certificates when data are
    downloaded."""
    now = time.time()
    written = Path(__file__).stat().st_mtime
    wrong = now < written - 86400
    shown = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now))
    do = "set the clock: it is behind the files of this program" if wrong else ""
    return Finding(what="clock", found=shown, do=do)
