"""How many trials run at once, and the CPUs and GPUs of each: from the options, the machine and a resumed run."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from search.execution.slots import as_begun
from search.runtime.cluster import plan_on_cluster
from search.runtime.resources import Resources, plan_resources
from search.session.options import Options

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
        name: getattr(options, name) for name in ("concurrent", "cpus_per_trial", "gpus_per_trial")
    }
    if run is not None:
        with suppress(ValueError):
            return _plan(options.address, **as_begun(run, stated, on_cluster=options.address is not None))
    return _plan(options.address, **stated)


def _plan(address: str | None, **wishes: Any) -> Resources:
    return plan_resources(**wishes) if address is None else plan_on_cluster(address, **wishes)
