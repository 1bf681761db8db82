"""Builds studies with their final evaluations, without a training."""

from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

import spaces.space
from analysis.evaluation import record as results
from analysis.evaluation.contenders import Contender
from analysis.evaluation.networks import Network
from analysis.scores.metrics import evaluate
from analysis.studies.results import FinalResults
from search.storage.run import Run

SPACE = spaces.space.load("digits_arch")


def make_run(**changes: Any) -> Run:
    fields: dict[str, Any] = {"name": "r", "space": "digits_arch", "fingerprint": "", "dataset": "digits"}
    fields |= {"dataset_checksum": "", "data_dir": "data", "train_size": None, "validation_fraction": 0.1, "seed": 0}
    fields |= {"epochs": 9, "min_epochs": 1, "reduction_factor": 3, "pruner": "asha", "sampler": "tpe"}
    fields |= {"metric": "accuracy", "direction": "maximize", "trials": 3, "baseline": dict(SPACE.baseline)}
    return Run(**fields | changes)


def make_study(*curves: list[float], run: Run) -> optuna.Study:
    """Trial i has the i-th curve; trial 0 is the baseline, the others differ in their weight decay."""
    study = optuna.create_study(direction=run.direction)
    for number, values in enumerate(curves):
        params = {**run.baseline, "sgd_weight_decay": 5e-4 * (1 + number)}
        complete = len(values) == run.epochs
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE if complete else TrialState.PRUNED,
                value=values[-1],
                params=params,
                distributions=SPACE.distributions(params),
                intermediate_values=dict(enumerate(values, start=1)),
                user_attrs={"seed": number, "weights": 1000 + number},
            )
        )
    return study


def trained(seconds: float) -> FrozenTrial:
    history = [{"epoch": 1, "train_loss": 1.0, "seconds": seconds, "device": "cpu", "precision": "float32"}]
    return create_trial(value=1.0, user_attrs={"weights": 1200, "macs": 5000, "history": history})


EXPORT = {"seed": 1, "sha256": "ab", "onnx": None, "verified": {"agreeing": 300, "rows": 300}}


def measured(name: str, outputs: np.ndarray, **fields: Any) -> results.Measured:
    contender = Contender(name=name, params={"a": 1}, trial=3 if name == "trial-3" else None, **fields)
    networks = [
        Network(
            contender=contender,
            index=i,
            seed=10 + i,
            epochs=2,
            stop_epoch=2,
            trial=trained(2.0),
            folder=Path(),
            sha256="ab",
        )
        for i in range(len(outputs))
    ]
    return results.Measured(contender=contender, networks=networks, outputs=outputs, images_per_second=1000.0)


def record(
    y: np.ndarray, rows: list[results.Measured], *, classes: tuple[str, ...], metric: str, **others: Any
) -> FinalResults:
    task = "classification" if classes else "regression"
    found = evaluate(y, {m.name: m.outputs for m in rows}, task=task, num_replicates=300)
    conditions = {"epochs": 2, "train_rows": 1438, "test_rows": len(y), "device": "cpu", "augmentation": "none"}
    fields: dict[str, Any] = {"image_shape": [1, 8, 8], "direction": "maximize", "openings": 1, "slots": 2}
    fields |= {"run": "r", "run_dir": "runs/r", "criterion": "the mean of 2", "intervals": "bootstrap"}
    fields |= {"conditions": {**conditions, "seeds": 2}, "machine": {"cpu_model": "some CPU"}}
    fields |= results.describe_winner(y, rows[0], classes=classes, train_y=y)
    entrants = results.describe_entrants(rows, found, y, metric=metric, classes=classes)
    return FinalResults(**fields | others, task=task, metric=metric, winner=rows[0].name, entrants=entrants)
