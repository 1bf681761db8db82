"""Searches that sleep, on the nodes of a cluster with logical GPUs, and one for which no node has room.

python -m tests.placing HOST:PORT FOLDER      # prints what was seen as JSON
"""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import idle, sleeper
from search.execution.launch import run_legs
from search.execution.slots import Slots
from search.execution.watch import ProgressWatch
from search.runtime.cluster import RaySession, plan_on_cluster
from search.runtime.resources import Resources
from search.scheduling.search import Search
from search.session.options import Options

PART = 0.5
"""Share of a GPU that a trial gets."""


def where_is_search() -> str:
    """The path of the package on the node that runs this."""
    import search

    return str(search.__file__)


def place(search: Search, resources: Resources, *, scratch: Path, watch: ProgressWatch) -> None:
    from ray import tune

    settings = {"metric": search.run.metric, "epoch_seconds": 1.0, "spread": 0.0}
    wanted = {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial}
    wanted = {name: amount for name, amount in wanted.items() if amount}
    worker = tune.with_resources(tune.with_parameters(sleeper.IdleWorker, **settings), wanted)
    run_legs(
        search, worker, slots=Slots(resources), scratch=scratch, watch=watch, max_failures=0, debug=False
    )  # fmt: skip


def main(address: str, folder: Path) -> dict[str, Any]:
    import ray

    ray.cloudpickle.register_pickle_by_value(sleeper)  # benchmarks are not shipped
    options = Options(trials=12, max_epochs=3, pruner="none", train_size=200)
    resources = plan_on_cluster(address, concurrent=None, cpus_per_trial=None, gpus_per_trial=PART)
    whole = plan_on_cluster(address, concurrent=None, cpus_per_trial=None, gpus_per_trial=None)
    huge, said = Resources(slots=1, cpus_per_trial=64, gpus_per_trial=0.0), []
    with (
        RaySession(resources, address=address, debug=False, on_lost=print).up() as scratch,
        idle.idle_search(folder / "parts", options) as parts,
        idle.idle_search(folder / "huge", options) as waits,
    ):
        code = ray.get(ray.remote(where_is_search).remote())
        place(
            parts, resources, scratch=scratch, watch=ProgressWatch(parts, resources=resources, timeout=None, say=print)
        )
        parts.end()
        watch = ProgressWatch(
            waits, resources=huge, timeout=None, say=said.append, on_cluster=True, say_seconds=2, room_seconds=5
        )
        place(waits, huge, scratch=scratch, watch=watch)
    return {
        "slots": resources.slots,
        "whole": [whole.slots, whole.cpus_per_trial, whole.gpus_per_trial],
        "code": code,
        "said": said,
        "fatal": str(waits.fatal),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
