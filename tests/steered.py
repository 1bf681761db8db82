"""Searches that are steered by a script, on a `Bench`, and killed at any write."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from ray.tune.search import Searcher

from search.storage.requests import Request, requests_of, send
from search.storage.run import read_run
from search.storage.study import open_for_requests, open_study
from tests.benches import Bench

Script = Sequence[tuple[int, Request]]
"""When a request is sent: as soon as the study has this many epochs."""
SETTINGS = {"trials": 12, "sampler": "random"}
BETWEEN_LEGS: Script = (
    (11, Request(verb="pause", trial=1)),
    (11, Request(verb="stop", trial=2)),
    (12, Request(verb="clone", trial=2, changes={"lr": "0.9"})),
    (22, Request(verb="stop", trial=99)),
    (23, Request(verb="resume", trial=1)),
    (24, Request(verb="add", configurations=({"lr": 0.03}, {"lr": 0.04}))),
    (44, Request(verb="finish")),
)


def request(folder: Path, **fields: object) -> Request:
    """Send a request to the run in this folder."""
    with open_for_requests(folder, read_run(folder)) as (storage, study_id):
        return send(storage, study_id, Request(**fields))  # type: ignore[arg-type]


def answers(folder: Path) -> list[Request]:
    """The requests of a run, as a reader finds them."""
    return requests_of(open_study(folder))


def num_epochs(bench: Bench) -> int:
    return sum(len(trial.intermediate_values) for trial in bench.search.ledger.trials)


def steer(bench: Bench, folder: Path, script: Script) -> None:
    """Send what is due and was not sent before, and let the search answer it."""
    for index, (epochs, wanted) in enumerate(script):
        if num_epochs(bench) >= epochs and len(bench.search.ledger.requests()) <= index:
            with open_for_requests(folder, bench.run) as (storage, study_id):
                send(storage, study_id, wanted)
            bench.search.steer()


def train_steered(folder: Path, script: Script, *, within: bool = False) -> Bench:
    """Work the search off in one slot.

    Args:
        within: also send requests while a trial has a worker, not only between two legs.
    """
    bench = Bench(folder, story=True, **SETTINGS)  # type: ignore[arg-type]
    steer(bench, folder, script)
    while isinstance(asked := bench.ask(), tuple):
        trial, leg = asked
        epoch = leg["reported"] + 1
        while bench.epoch(trial, epoch, leg["params"]["lr"] + 0.001 * epoch):
            epoch += 1
            if within:
                steer(bench, folder, script)
        steer(bench, folder, script)
    assert asked == Searcher.FINISHED
    assert bench.search.fatal is None, bench.search.fatal
    bench.search.end()
    bench.search._events.stopped(bench.search, None)  # type: ignore[attr-defined]
    return bench


def killed_at(point: str, folder: Path, script: Script, *, within: bool = False) -> bool:
    """Work the search off in a process that is killed by `kill -9` at this point; whether it came to that."""
    child = os.fork()
    if not child:
        try:
            os.environ["RUNGWISE_FAULT"] = point
            train_steered(folder, script, within=within)
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def table(folder: Path) -> list[tuple]:
    """What must be equal between two searches that were asked the same at the same moments."""
    hidden = {"request", "history"}  # random names, and times
    return [
        (t.number, t.params, t.intermediate_values, t.state, {k: v for k, v in t.user_attrs.items() if k not in hidden})
        for t in open_study(folder).trials
    ]


def said(folder: Path) -> list[tuple]:
    return [(one.number, one.text, one.state, one.answer, one.trials, one.epoch) for one in answers(folder)]
