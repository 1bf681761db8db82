"""Checks whether a search can run here, before it is tried: each line says `ok`, or what to do.

python -m search.doctor                                           # this machine
python -m search.doctor --space cifar_arch --data-dir data
python -m search.doctor --address auto --runs-dir /shared/runs     # every node of a cluster
"""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import spaces
from search.diagnosis import machine
from search.diagnosis.data import check_data
from search.diagnosis.finding import Finding
from search.diagnosis.limits import check_limits, check_priority, check_start
from search.process.answer import add_to_answer
from search.process.arguments import (
    BAD_INPUT,
    DONE,
    Flag,
    OptionalStr,
    Several,
    answering,
    command,
    parse,
    report_error,
    run_command,
)
from search.process.environment import check_names, named
from search.process.signals import Stopped, raise_stopped
from spaces.origin import is_own


@dataclass(frozen=True, kw_only=True)
class Options:
    """Check devices, memory, folders, data, versions and clocks."""

    space: str = "digits_arch"
    """What to search: checks that its data are available and that your own code gives the same results after a
    pause."""
    env: Several = ()
    """An environment variable that your own training code reads, as with --env of a search: the code gets few others.
    Repeat the option for several variables."""
    data_dir: Path = Path("data")
    """Folder of the data sets."""
    runs_dir: Path = Path("runs")
    """Folder that holds all runs; with --address it must be the same on every node."""
    address: OptionalStr = None
    """Ray cluster to check as well: auto or HOST:PORT."""
    json: Flag = False
    """Print one JSON object, and everything else on stderr."""


@answering
def main(argv: list[str]) -> int:
    """The command. Returns 0 when a search can run, perhaps with notes; 2 when it cannot, or for bad options."""
    raise_stopped()
    found: list[Finding] = []
    try:
        options = parse(Options, argv, prog=command("search.doctor"))
        spaces.check_name(options.space)
        check_names(options.env)
        named(options.env, os.environ)
        for finding in examine(options):
            print(finding, flush=True)
            found.append(finding)
            add_to_answer(can_search=False, findings=[asdict(finding) for finding in found])
    except (ValueError, OSError) as error:
        return report_error(error)
    except Stopped as stop:
        return stop.code
    failed = any(finding.fatal for finding in found)
    print("a search cannot run yet" if failed else "a search can run")
    add_to_answer(error="a search cannot run yet" if failed else None, can_search=not failed)
    return BAD_INPUT if failed else DONE


def examine(options: Options) -> Iterator[Finding]:
    """All findings, the quick ones first."""
    yield machine.check_devices()
    yield machine.check_memory()
    yield check_limits()
    yield check_priority()
    yield check_start()
    yield machine.check_folder(options.runs_dir)
    yield machine.check_disk(options.runs_dir)
    yield machine.check_scratch(Path("/tmp"), needed=machine.DISK_NEEDED)
    if Path("/dev/shm").is_dir():
        yield machine.check_shared_memory(Path("/dev/shm"))
    yield machine.check_versions()
    yield machine.check_clock()
    if spaces.stated(options.space).get("own") or _is_own(options.space):
        from search.diagnosis.own_code import examine_own

        yield from examine_own(options.space, env=options.env)
    else:
        yield check_data(options.space, options.data_dir)
    if options.address is not None:
        from search.diagnosis.cluster import check_cluster

        yield from check_cluster(options.address, runs_dir=options.runs_dir)


def _is_own(space: str) -> bool:
    """Whether code of the user's own trains, which the text of the file does not always show."""
    if not is_own(space):
        return False
    import spaces.space

    return spaces.space.load(space).own


if __name__ == "__main__":
    run_command(main)
