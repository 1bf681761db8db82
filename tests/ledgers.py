"""Builds runs, ledgers and proposals."""

from pathlib import Path
from typing import Any

import optuna
from optuna.trial import BaseTrial, FrozenTrial, TrialState, create_trial

from search.scheduling.constraints import Examination
from search.scheduling.proposals import Proposals
from search.storage.ledger import Ledger
from search.storage.run import Run, write_run
from search.storage.study import create_study, resume_study


def make_run(**changes: object) -> Run:
    settings = {
        "name": "r", "space": "s", "fingerprint": "f", "dataset": "d", "dataset_checksum": "c", "data_dir": "data",
        "train_size": None, "validation_fraction": 0.1, "seed": 3, "epochs": 9, "min_epochs": 1, "reduction_factor": 3,
        "pruner": "asha", "sampler": "tpe", "metric": "accuracy", "direction": "maximize", "trials": 30,
        "baseline": {"x": 0.5}, **changes,
    }  # fmt: skip
    return Run(**settings)  # type: ignore[arg-type]


def open_ledger(folder: Path, run: Run) -> Ledger:
    if not (folder / "run.json").exists():
        create_study(folder, run)
        write_run(folder, run)
    return Ledger(resume_study(folder, run), run)


def open_proposals(folder: Path, run: Run) -> Proposals:
    return Proposals(open_ledger(folder, run), run)


def suggest(trial: BaseTrial) -> float:
    x = trial.suggest_float("x", 0, 1)
    if trial.suggest_categorical("deep", [True, False]):
        x += trial.suggest_float("y", 0.1, 1, log=True)
    return x


def examine(value: float) -> Examination:
    return Examination(attrs={"weights": 7})


def report(proposals: Proposals, number: int, *, epoch: int, value: float) -> None:
    """As a search does it."""
    if proposals.ledger.report(number, epoch=epoch, value=value, record={"epoch": epoch}):
        proposals.on_epoch(number, epoch=epoch, value=value)


def fill(proposals: Proposals, count: int) -> None:
    for _ in range(count):
        number = proposals.sample(suggest, examine, live=())
        assert number is not None
        x = proposals.ledger.trials[number].params["x"]
        report(proposals, number, epoch=1, value=-((x - 0.3) ** 2))


def by_optuna(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name=None, storage=f"sqlite:///{folder}/study.db")


def enqueue(folder: Path, *params: dict[str, Any]) -> None:
    study = by_optuna(folder)
    for fixed in params:
        study.enqueue_trial(fixed)


def make(number: int, state: TrialState, values: list[float], **attrs: object) -> FrozenTrial:
    value = values[-1] if state in (TrialState.COMPLETE, TrialState.PRUNED) and values else None
    trial = create_trial(
        state=state, value=value, intermediate_values=dict(enumerate(values, start=1)), user_attrs=dict(attrs)
    )
    trial.number = number
    return trial


SECRET = "s3cr3tpw"
