"""Drives a search without Ray, and without training."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from optuna.trial import BaseTrial, FrozenTrial
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from search.execution.scheduler import StudyScheduler
from search.execution.searcher import StudySearcher
from search.scheduling.constraints import Examination
from search.scheduling.search import Search
from search.session.story import Story
from search.storage.expected import Expected
from search.storage.requests import Request
from search.storage.run import Planned
from spaces.second import Second
from spaces.space import Space
from tests.ledgers import make_run, open_ledger
from tests.searching import ROOT
from trainables.models.cnn import CnnConfig
from trainables.training.config import TrainConfig
from trainables.training.optim import SgdConfig


def suggest(trial: BaseTrial) -> TrainConfig:
    lr = trial.suggest_float("lr", 0.01, 1.0, log=True)
    return TrainConfig(model=CnnConfig(widths=(8,)), optimizer=SgdConfig(lr=lr))


BASELINE = (Planned(params={"lr": 0.1}, tag="baseline"),)


SPACE = Space(suggest=suggest, baseline={"lr": 0.1}, dataset="digits", epochs=9)


def _blank(config: TrainConfig) -> Examination:
    return Examination()


def _weigh(config: TrainConfig) -> Examination:
    return Examination(attrs={"weights": round(1000 * config.optimizer.lr)})


class Diary:
    """Remembers what a search told."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.ends: list[tuple[int, str]] = []
        self.answers: list[Request] = []

    def started(self, trial: FrozenTrial) -> None: ...

    def epoch(self, trial: FrozenTrial, record: dict[str, Any]) -> None: ...

    def paused(self, trial: FrozenTrial) -> None: ...

    def ended(self, trial: FrozenTrial) -> None:
        self.ends.append((trial.number, trial.state.name))

    def steered(self, request: Request) -> None:
        self.answers.append(request)

    def foreseen(self, expected: Expected) -> None: ...

    def notice(self, text: str) -> None:
        self.notices.append(text)


class Bench:
    """A search with its two views, and legs that are stepped by hand as Ray would."""

    def __init__(
        self,
        folder: Path,
        *,
        slots: int = 1,
        deadline: float | None = None,
        story: bool = False,
        second: dict[str, Any] | None = None,
        searched: Space = SPACE,
        **changes: Any,
    ) -> None:
        """
        Args:
            story: write events.jsonl, as a search does.
            second: fields of the second objective; weights are known before training, latency is reported.
        """
        if second is not None:
            changes["second"] = Second(**second)
        self.run = make_run(**{"sampler": "random", "trials": 9, "plan": BASELINE, **changes})
        self.diary = Diary()
        ledger = open_ledger(folder, self.run)
        events: Any = Story(self.run, folder, events=self.diary) if story else self.diary
        if story:
            events.begin(ledger.trials, ledger.requests())
        self.search = Search(
            self.run, ledger, searched, examine=_weigh if second else _blank, events=events, deadline=deadline,
        )  # fmt: skip
        self.searcher = StudySearcher(self.search, slots=lambda: slots)
        self.scheduler = StudyScheduler(self.search, put_back=self.searcher.put_back)
        self.num_legs = 0

    def ask(self) -> tuple[Trial, dict[str, Any]] | str | None:
        self.num_legs += 1
        name = f"leg{self.num_legs}"
        leg = self.searcher.suggest(name)
        return (Trial("stub", stub=True, trial_id=name), leg) if isinstance(leg, dict) else leg

    def tell(self, trial: Trial, **said: Any) -> bool:
        """Report one step; ends the leg as Ray does when the scheduler stops it. Returns whether it goes on."""
        decision = self.scheduler.on_trial_result(None, trial, {"said": json.dumps(said)})
        if decision == TrialScheduler.STOP:
            self.searcher.on_trial_complete(trial.trial_id, {})
        return decision == TrialScheduler.CONTINUE

    def epoch(self, trial: Trial, epoch: int, value: float) -> bool:
        more = {"latency": 1 + value} if self.run.second and not self.run.second.known else {}
        return self.tell(trial, record={"epoch": epoch, "accuracy": value, "seconds": 0.1, **more})

    def train(self, value_of: Any = lambda lr, epoch: lr + 0.001 * epoch) -> None:
        """Work off the whole search in one slot."""
        while isinstance(asked := self.ask(), tuple):
            trial, leg = asked
            epoch = leg["reported"] + 1
            while self.epoch(trial, epoch, value_of(leg["params"]["lr"], epoch)):
                epoch += 1
        assert asked == Searcher.FINISHED
        if self.search.fatal is None:
            self.search.end()


def kill_driver(folder: Path, *, point: str, **changes: Any) -> None:
    """A process works the search off and is killed by `kill -9` at a point between two writes."""
    program = (
        "import json, sys; from pathlib import Path; from tests.benches import Bench\n"
        "Bench(Path(sys.argv[1]), **json.loads(sys.argv[2])).train()"
    )
    words = [sys.executable, "-c", program, str(folder), json.dumps(changes)]
    died = subprocess.run(words, cwd=ROOT, env={**os.environ, "RUNGWISE_FAULT": point}, check=False)
    assert died.returncode == -signal.SIGKILL
