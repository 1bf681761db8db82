"""How many trials run at once, and the CPUs and GPUs of each: from the options, the machine and a resumed run."""

from contextlib import suppress
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

    if not is_own(space) or not load(space).own:
        return resources  # built-in networks
    option = f"--workers-per-trial {resources.workers_per_trial}"
    if not any(b".prepare(" in text for text in read_sources(locate(space)).files.values()):
        raise ValueError(
            f"{option} needs training code that calls model = run.prepare(model), which {short_name(space)} never does;"
            " docs/how-to/several-workers.md shows the changes"
        )
    return resources


def _plan(address: str | None, **wishes: Any) -> Resources:
    return plan_resources(**wishes) if address is None else plan_on_cluster(address, **wishes)
