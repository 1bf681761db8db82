"""How many trials run at once, and the CPUs and GPUs of each: from the options, the machine and a resumed run."""

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from search.execution.slots import as_begun
from search.runtime.cluster import plan_on_cluster
from search.runtime.resources import Resources, plan_resources
from search.session.options import Options
from spaces.origin import is_own, locate, short_name
from spaces.sources import read_sources

if TYPE_CHECKING:
    from search.storage.run import Run


def plan(options: Options, run: "Run | None" = None) -> Resources:
    """The resources of a search with these options, on this machine or on the cluster they name.

    Args:
        run: a run that is resumed: options that are not stated are as when it began, if this machine has as much.

    Raises:
        ValueError: this machine has less, or there is no cluster.
    """
    found = _planned(options, run)
    if options.workers_per_trial is None and _decides(run, options.space) and found.workers_per_trial == 1:
        return _by_configuration(found, run.space if run else options.space)
    return found


def _decides(run: "Run | None", space: str) -> bool:
    """Whether configurations decide the number of their workers: as when the run began, or by the space."""
    if run is not None:
        return run.workers_by_config
    if not is_own(space) or not any(b"workers" in text for text in read_sources(locate(space)).files.values()):
        return False  # without importing torch
    from spaces.space import load

    return load(space).workers is not None


def _by_configuration(resources: Resources, space: str) -> Resources:
    """The same resources for each worker, of which a trial gets as many as its configuration asks for.

    Raises:
        ValueError: the code cannot use several, or they would share a GPU.
    """
    _check_prepares(space, "Space(workers=...)")
    if 0 < resources.gpus_per_trial < 1:
        raise ValueError(
            "--gpus-per-trial must be 0 or 1 with Space(workers=...), because each worker uses a GPU, got"
            f" {resources.gpus_per_trial:g}; state --workers-per-trial 1 to let trials share GPUs"
        )
    return replace(resources, by_configuration=True)


def _planned(options: Options, run: "Run | None") -> Resources:
    stated: dict[str, Any] = {
        name: getattr(options, name) for name in ("concurrent", "cpus_per_trial", "gpus_per_trial", "workers_per_trial")
    }
    if run is not None:
        with suppress(ValueError):
            begun = as_begun(run, stated, on_cluster=options.address is not None)
            return _checked(_plan(options.address, **begun), run.space)
    return _checked(_plan(options.address, **stated), run.space if run else options.space)


def _checked(resources: Resources, space: str) -> Resources:
    """The resources, if the training code can use several workers where there are several.

    Raises:
        ValueError: it cannot.
    """
    if resources.workers_per_trial == 1:
        return resources
    from spaces.space import load  # imports torch

    if is_own(space) and load(space).own:  # built-in networks need nothing
        _check_prepares(space, f"--workers-per-trial {resources.workers_per_trial}")
    return resources


def _check_prepares(space: str, option: str) -> None:
    if not any(b".prepare(" in text for text in read_sources(locate(space)).files.values()):
        raise ValueError(
            f"{option} needs training code that calls model = run.prepare(model), which {short_name(space)} never does;"
            " docs/how-to/several-workers.md shows the changes"
        )


def _plan(address: str | None, **wishes: Any) -> Resources:
    return plan_resources(**wishes) if address is None else plan_on_cluster(address, **wishes)
