"""Checks whether a search can run here, before it is tried: each line says `ok`, or what to do.

python -m search.doctor                                           # this machine
python -m search.doctor --space cifar_arch --data-dir data
python -m search.doctor --address auto --runs-dir /shared/runs     # every node of a cluster
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import spaces
from search.diagnosis.limits import Finding, check_limits, check_priority, check_start
from search.process.allotted import allotted_cpus, available_cpus, available_memory
from search.process.arguments import BAD_INPUT, DONE, OptionalStr, command, parse, report_error, run_command
from search.process.disk import free_space, size
from search.process.signals import Stopped, raise_stopped
from spaces.origin import is_own

if TYPE_CHECKING:
    from search.execution.nodes import Node

MEMORY_PER_TRIAL = 1.0e9
"""Bytes of a worker with torch imported and a small data set."""
DISK_NEEDED = 1e9
SHARED_MEMORY_NEEDED = 512e6
CLOCK_SLACK_SECONDS = 5


@dataclass(frozen=True, kw_only=True)
class Options:
    """Check devices, memory, folders, data, versions and clocks."""

    space: str = "digits_arch"
    """What to search: checks that its data are available and that your own code gives the same results after a
    pause."""
    data_dir: Path = Path("data")
    """Folder of the data sets."""
    runs_dir: Path = Path("runs")
    """Folder that holds all runs; with --address it must be the same on every node."""
    address: OptionalStr = None
    """Ray cluster to check as well: auto or HOST:PORT."""


def main(argv: list[str] | None = None) -> int:
    """The command. Returns 0 when a search can run, perhaps with notes; 2 when it cannot, or for bad options."""
    argv = sys.argv[1:] if argv is None else argv
    raise_stopped()
    try:
        options = parse(Options, argv, prog=command("search.doctor"))
        spaces.check_name(options.space)
        failed = False
        for finding in examine(options):
            print(finding, flush=True)
            failed |= finding.fatal
    except (ValueError, OSError) as error:
        return report_error(error)
    except Stopped as stop:
        return stop.code
    print("a search cannot run yet" if failed else "a search can run")
    return BAD_INPUT if failed else DONE


def examine(options: Options) -> Iterator[Finding]:
    """All findings, the quick ones first."""
    yield check_devices()
    yield check_memory()
    yield check_limits()
    yield check_priority()
    yield check_start()
    yield check_folder(options.runs_dir)
    yield check_disk(options.runs_dir)
    yield check_scratch(Path("/tmp"), needed=DISK_NEEDED)
    if Path("/dev/shm").is_dir():
        yield check_shared_memory(Path("/dev/shm"))
    yield check_versions()
    yield check_clock()
    if spaces.stated(options.space).get("own") or _is_own(options.space):
        from search.diagnosis.own_code import examine_own

        yield from examine_own(options.space)
    else:
        yield check_data(options.space, options.data_dir)
    if options.address is not None:
        yield from check_cluster(options.address, runs_dir=options.runs_dir)


def _is_own(space: str) -> bool:
    """Whether code of the user's own trains; the file alone does not always tell."""
    if not is_own(space):
        return False
    import spaces.space

    return spaces.space.load(space).own


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
    """Whether a run can be made: a file is written, locked, renamed and removed again."""
    import fcntl

    parent = folder
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=parent) as scratch:
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
    """The data set lies there, once for all workers of a node."""
    do = f"make {folder} larger (docker run --shm-size=2g): otherwise Ray keeps the data on disk, which is slow"
    return _room("shared memory", folder, needed=SHARED_MEMORY_NEEDED, do=do)


def _room(what: str, folder: Path, *, needed: float, do: str) -> Finding:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    short = free < needed
    fatal = free < needed / 20
    return Finding(what=what, found=free_space(folder), do=do if short else "", fatal=short and fatal)


def check_versions() -> Finding:
    """Python and the packages that an outcome depends on; versions that are known not to do."""
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
    """A clock before this release was written makes nonsense of times, and of certificates when data are fetched."""
    now = time.time()
    written = Path(__file__).stat().st_mtime
    wrong = now < written - 86400
    shown = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now))
    return Finding(
        what="clock", found=shown, do="set the clock: it is behind the files of this program" if wrong else ("")
    )


def check_data(space: str, data_dir: Path) -> Finding:
    """Whether the data set of the space is at hand and whole; what is missing is not fetched."""
    import spaces.space
    from trainables.files.download import downloads_refused
    from trainables.sources import load as data

    name = spaces.space.load(space).dataset
    if name == "csv":
        there = data_dir.is_file()
        found = f"{str(data_dir)!r} is {'there' if there else 'no file'}"
        return Finding(what="data", found=found, do="" if there else "give --data-dir your.csv", fatal=not there)
    with downloads_refused():
        try:
            dataset = data.load(name, data_dir)
        except (ValueError, OSError) as error:
            reason = " ".join(str(error).split())
            fetched = isinstance(error, FileNotFoundError) and name != "image_folder"
            do = "a search downloads it once, if there is a network" if fetched else "see above"
            return Finding(what="data", found=reason, do=do, fatal=not fetched)
    rows = f"{len(dataset.train) + len(dataset.validation):,} rows"
    return Finding(what="data", found=f"{name}: {rows}, verified")


def check_cluster(address: str, *, runs_dir: Path) -> Iterator[Finding]:
    """Nodes with the same versions, clocks that agree, and the run folder seen by every one of them."""
    from search.execution.nodes import ask_nodes
    from search.runtime.cluster import attached
    from search.runtime.versions import versions

    runs_dir.mkdir(parents=True, exist_ok=True)
    with attached(address):
        nodes, silent = ask_nodes(str(runs_dir.resolve()))
    yield Finding(what="nodes", found=f"{len(nodes)} answer at {address}")
    for host in silent:
        yield Finding(what="nodes", found=f"{host} does not answer", do="check it with `ray status`", fatal=True)
    yield from compare_nodes(nodes, here=versions(), runs_dir=runs_dir)


def compare_nodes(nodes: Sequence["Node"], *, here: dict[str, str], runs_dir: Path) -> Iterator[Finding]:
    """What the answers of the nodes mean."""
    from search.execution.nodes import blind, differing_versions

    for host, changed in differing_versions(nodes, here).items():
        shown = ", ".join(f"{name} {version} (here {here[name]})" for name, version in changed.items())
        yield Finding(what="versions", found=f"{host}: {shown}", do="install the lock file on every node", fatal=True)
    for node in nodes:
        if abs(node.clock_seconds) > CLOCK_SLACK_SECONDS:
            found = f"{node.host} is {node.clock_seconds:+.0f} s off"
            yield Finding(what="clock", found=found, do="start a time service (chrony) there")
    hosts = blind(nodes)
    if hosts:
        yield Finding(
            what="shared folder",
            found=f"{', '.join(hosts)} cannot see {str(runs_dir)!r}",
            do="give a --runs-dir that all nodes share; otherwise a trial that moves to another node starts again",
        )
    elif nodes:
        yield Finding(what="shared folder", found=f"every node sees {str(runs_dir)!r}")


if __name__ == "__main__":
    run_command(main)
