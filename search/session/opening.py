"""From options to a run: a new folder with run.json and an empty study, or an old one opened again."""

import hashlib
import os
import platform
import subprocess
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import distribution_to_json

from search.execution.loggers import check_logger
from search.runtime.cluster import Resources, count_gpus
from search.runtime.versions import versions
from search.session.options import FIXED, Options, parse_count, parse_types
from search.storage.folder import cannot_make, check_free, check_there
from search.storage.source_code import canonical, told
from search.storage.study import Run, check_database, create_study, read_run, write_run
from spaces.origin import is_own, short_name
from trainables.data.table import TableOptions
from trainables.files.stores import Folder, Place, UnreachableError, join, open_place
from trainables.files.whole import new_folder

if TYPE_CHECKING:  # imports torch, and an old run is looked at before
    from spaces.space import Space

FINGERPRINT_DRAWS = 64
_PROBE = f".probe-{os.getpid()}"


def fingerprint(space: "Space") -> str:
    """A hash of the parameters and ranges that a space asks for; a comment or a new name in its file changes nothing.

    Raises:
        ValueError: the space's `suggest` fails, or its baseline does not fit.
    """
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    asked: set[str] = set()
    for _ in range(FINGERPRINT_DRAWS):
        trial = study.ask()
        space.suggest(trial)
        asked |= {f"{name} {distribution_to_json(d)}" for name, d in trial.distributions.items()}
    _check_baseline(space)
    asked |= {space.dataset, *space.objective("classification")}
    return hashlib.sha256("\n".join(sorted(asked)).encode()).hexdigest()[:16]


def _check_baseline(space: "Space") -> None:
    try:
        space.decode(space.baseline)
    except ValueError as error:
        raise ValueError(f"the baseline of the space does not fit: {error}") from error


def load_data(
    space: "Space",
    *,
    data_dir: str,
    seed: int,
    train_size: int | None,
    validation_fraction: float,
    table: TableOptions | None = None,
) -> Any:
    """Training and validation rows of the space's data set, or what code of the user's own reads.

    Raises:
        ValueError: what is wrong with the data, or what the user's own code raised.
    """
    from trainables.trainable import Source

    source = Source(
        data_dir=data_dir, seed=seed, train_size=train_size, validation_fraction=validation_fraction, table=table
    )
    if not space.own:
        return space.work.load(source)
    try:
        return space.work.load(source)
    except Exception as error:
        raise ValueError(f"data() fails: {told(error)}") from error


def decide_table(table: TableOptions | None, dataset: Any) -> TableOptions | None:
    """The options with everything that was found in the table: whoever reads it with them finds the same."""
    if table is None:
        return None
    return replace(table, task=dataset.task, types={column.name: column.kind for column in dataset.columns})


def with_test_notes(dataset: Any, data_dir: str) -> Any:
    """The data set with what there is to note of its test files as well; their pixels are not kept.

    Raises:
        ValueError: the final evaluation could not read them.
    """
    from trainables.sources import images

    return replace(dataset, notes=(*dataset.notes, *images.check_test_files(dataset.name, data_dir)))


def describe_machine(resources: Resources) -> dict[str, Any]:
    """Host, processors and memory, for the record; nothing of the environment."""
    return {
        "host": platform.node(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu_model": cpu_model(),
        "cpus": os.cpu_count(),
        "gpus": count_gpus(),
        "gpu_model": gpu_model(),
        "threads_per_trial": resources.cpus_per_trial,
        "gpus_per_trial": resources.gpus_per_trial,
    }


def cpu_model() -> str:
    """The name of the processor."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or "unknown"


def gpu_model() -> str | None:
    """The name of the first GPU; None without one."""
    if not count_gpus():
        return None
    import torch

    return torch.cuda.get_device_name()


def commit() -> str | None:
    """The commit of the source tree, with `-dirty` when it was changed since; None outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def provenance(resources: Resources) -> dict[str, Any]:
    """The fields of a `Run` that say where, when and by what it was made."""
    return {
        "slots": resources.slots,
        "cpus_per_trial": resources.cpus_per_trial,
        "gpus_per_trial": resources.gpus_per_trial,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "versions": versions(),
        "machine": describe_machine(resources),
    }


def open_storage(storage: str) -> Place:
    """The place of --storage.

    Raises:
        ValueError: pyarrow knows no such URI, or there is no such folder.
    """
    import pyarrow

    try:
        place = open_place(storage)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"--storage must be a URI that pyarrow knows, got {storage!r}: {error}") from None
    if isinstance(place, Folder) and not place.path.is_dir():
        raise ValueError(f"--storage must be a folder that exists, got {storage!r}; make or mount it first")
    return place


def check_storage(run: Run, *, new: bool) -> None:
    """Raise ValueError unless --storage can be written and, for a new run, holds no checkpoint by its name."""
    if run.storage is None:
        return
    place = open_storage(run.storage)
    try:
        if new and open_place(join(run.storage, run.name)).entries():
            raise ValueError(f"--storage holds checkpoints of a run {run.name!r} already; give another --name")
        place.write(_PROBE, {"probe": b""})
        place.remove(_PROBE)
    except (UnreachableError, OSError) as error:
        raise ValueError(f"--storage {run.storage} cannot be written: {error}") from None


def new_run(run_dir: Path, run: Run) -> None:
    """Make the folder of a new run, whole or not at all: it is made aside and renamed.

    Raises:
        ValueError: there is something by that name already, which stays as it is, or the folder cannot be written.
    """
    check_free(run_dir)
    with ExitStack() as stack:
        try:
            run_dir.parent.mkdir(parents=True, exist_ok=True)
            partial = stack.enter_context(new_folder(run_dir))
        except OSError as error:
            raise cannot_make(run_dir.parent, error.strerror) from None
        create_study(partial, run)
        write_run(partial, run)


def resumed_run(options: Options, *, given: Collection[str]) -> Run:
    """`old_run` for these options.

    Args:
        given: names of the options that the user stated.
    """
    stated: dict[str, Any] = {name: getattr(options, name) for name in FIXED if name in given}
    if "space" in stated:
        stated["space"] = canonical(options.space)
    if options.max_epochs is not None:
        stated["epochs"] = options.max_epochs
    for name in ("max_weights", "max_macs"):
        if name in given:
            stated[name] = parse_count(f"--{name}", getattr(options, name))
    if "drop" in given:
        stated["drop"] = options.dropped
    if "types" in given:
        stated["types"] = parse_types(options.types)
    run_dir = options.runs_dir / str(options.name)
    moved = stated.pop("space", None) if is_own(options.space) else None
    run = old_run(run_dir, given=stated, trials=options.trials if "trials" in given else None)
    run = replace(run, logger=options.logger) if "logger" in given else run
    check_logger(run.logger)
    if moved is None:
        return run
    if short_name(moved) != short_name(run.space):
        raise ValueError(f"run {run.name!r} searches {run.space!r}, not {moved!r}; leave --space out")
    return replace(run, space=moved)


def old_run(run_dir: Path, *, given: Mapping[str, Any], trials: int | None) -> Run:
    """Read a run that is to be continued, perhaps with more trials.

    Args:
        given: options that the user stated and that may not differ from those of the run.
        trials: trials asked for now, all in all; None keeps the number.

    Raises:
        ValueError: no such run, a damaged study, or a stated option that contradicts it.
    """
    check_there(run_dir)
    run = read_run(run_dir)
    held = {**vars(run), **(vars(run.table) if run.table else {})}
    changed = [
        f"{name} is {held.get(name)!r}, not {value!r}" for name, value in given.items() if held.get(name) != value
    ]
    if changed:
        raise ValueError(
            f"run {run.name!r} cannot change what it searches ({'; '.join(changed)});"
            " leave these options out, or start under another --name"
        )
    if trials is not None and trials < run.trials:
        raise ValueError(f"--trials must be at least {run.trials}, the number already asked for, got {trials}")
    if run.study_url is None:
        check_database(run_dir / "study.db")
    return run


def check_same(run: Run, *, space: "Space", dataset: Any) -> None:
    """Raise ValueError if the space or the data are no longer those of the run."""
    if (now := fingerprint(space)) != run.fingerprint:
        raise ValueError(
            f"space {run.space!r} has changed since run {run.name!r} began (fingerprint {now}, not {run.fingerprint});"
            " restore its file, or start under another --name"
        )
    if dataset.checksum != run.dataset_checksum and not space.own:  # own code may read more, or other rows, each day
        raise ValueError(
            f"data set {dataset.name!r} has changed since run {run.name!r} began (sha256 {dataset.checksum[:12]}, not"
            f" {run.dataset_checksum[:12]}); give the --data-dir of then, or start under another --name"
        )
