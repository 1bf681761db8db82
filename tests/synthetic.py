"""Makes studies whose effects are known: mixed and conditional parameters, learning curves, early stopping."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from trainables.data.split import RANDOM

DISTRIBUTIONS = {
    "depth": IntDistribution(2, 4),
    "width_0": IntDistribution(16, 128, log=True),
    "width_1": IntDistribution(16, 128, log=True),
    "width_2": IntDistribution(16, 128, log=True),
    "width_3": IntDistribution(16, 128, log=True),
    "batch_norm": CategoricalDistribution((True, False)),
    "augmentation": CategoricalDistribution(("none", "flip", "crop")),
    "optimizer": CategoricalDistribution(("sgd", "adamw")),
    "momentum": FloatDistribution(0.5, 0.99),
    "lr": FloatDistribution(1e-4, 1e-1, log=True),
    "dropout": FloatDistribution(0.0, 0.5),
    "weight_decay": FloatDistribution(1e-6, 1e-2, log=True),
}
BASELINE = {"depth": 2, "width_0": 32, "width_1": 32, "batch_norm": False, "augmentation": "none"} | {
    "optimizer": "sgd",
    "momentum": 0.9,
    "lr": 0.01,
    "dropout": 0.1,
    "weight_decay": 1e-4,
}
NULL = ("dropout", "weight_decay")
"""Parameters without any effect."""


@dataclass(frozen=True, kw_only=True)
class Effects:
    """Sizes of the true effects on the final objective, in its own unit."""

    batch_norm: float = 0.04
    depth: float = 0.012
    """Per stage."""
    width: float = 0.008
    """Of the first width, per doubling."""
    crop: float = 0.02
    """Late: hurts at first, helps at the end."""
    momentum: float = 0.03
    """Per unit, around 0.75; with SGD only."""
    lr: float = 0.03
    """Loss per squared decade away from 0.01."""
    interaction: float = 0.0
    """Extra effect of batch norm per decade of lr above the middle of its range."""
    noise: float = 0.012

    @classmethod
    def none(cls) -> "Effects":
        """A study of noise: nothing has an effect."""
        return cls(batch_norm=0, depth=0, width=0, crop=0, momentum=0, lr=0)


def final_value(params: dict[str, Any], effects: Effects) -> float:
    """The expected objective of a configuration at the full budget."""
    decades = math.log10(params["lr"]) + 2
    value = 0.72 - effects.lr * decades**2 + effects.depth * (params["depth"] - 3)
    value += effects.batch_norm * params["batch_norm"] + effects.width * (math.log2(params["width_0"]) - 5.5)
    value += effects.crop * (params["augmentation"] == "crop")
    value += effects.momentum * (params.get("momentum", 0.75) - 0.75)
    return value + effects.interaction * (params["batch_norm"] - 0.5) * (decades + 0.5)


def draw(random: np.random.Generator, towards: dict[str, Any] | None = None) -> dict[str, Any]:
    """One configuration: independent draws or, with `towards`, each value kept from there with probability a half."""
    depth = int(random.integers(2, 5))
    if towards and random.random() < 0.5:
        depth = towards["depth"]
    params: dict[str, Any] = {"depth": depth}
    for name, distribution in list(DISTRIBUTIONS.items())[1:]:
        if name.startswith("width_") and int(name[6:]) >= depth:
            continue
        if name == "momentum" and params["optimizer"] != "sgd":
            continue
        keep = towards is not None and name in towards and random.random() < 0.5
        params[name] = towards[name] if keep and towards else _sample(random, distribution)
    return params


def _sample(random: np.random.Generator, distribution: Any) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(random.integers(len(distribution.choices)))]
    low, high = (
        (math.log(distribution.low), math.log(distribution.high))
        if distribution.log
        else (
            distribution.low,
            distribution.high,
        )
    )
    value = random.uniform(low, high)
    value = math.exp(value) if distribution.log else value
    return round(value) if isinstance(distribution, IntDistribution) else float(value)


def curve(params: dict[str, Any], effects: Effects, *, epochs: int, random: np.random.Generator) -> list[float]:
    """One noisy learning curve; augmentation costs early epochs what it gains at the end twice over."""
    end = final_value(params, effects) + effects.noise * random.standard_normal()
    late = 2 * effects.crop * (params["augmentation"] == "crop")
    steps = np.arange(1, epochs + 1)
    left = (1 - np.log(steps) / math.log(epochs)) if epochs > 1 else np.zeros(1)
    wobble = 0.4 * effects.noise * random.standard_normal(epochs) * left
    return list(end - (0.35 + late) * left + wobble)


def make_study(
    num_trials: int,
    *,
    seed: int = 0,
    epochs: int = 27,
    eta: int = 3,
    effects: Effects | None = None,
    adaptive: bool = False,
    failures: int = 0,
    stop: bool = True,
    running: int = 0,
) -> optuna.Study:
    """A study in memory as the search leaves it.

    Args:
        adaptive: later draws lean towards the best so far, as a model-based sampler does.
        failures: this many trials more, that failed in their first or second epoch.
        stop: stop trials at the rungs that are not in the best 1 / eta at the time; else train all.
        running: this many of the last trials are left RUNNING.
    """
    random = np.random.default_rng(seed)
    effects = effects or Effects()
    rungs = [eta**k for k in range(10) if eta**k < epochs]
    seen: dict[int, list[float]] = {rung: [] for rung in rungs}
    trials: list[FrozenTrial] = []
    best: tuple[float, dict[str, Any]] | None = None
    clocks = [datetime(2026, 1, 5, 9), datetime(2026, 1, 5, 9, 0, 2)]
    for number in range(num_trials + failures):
        params = dict(BASELINE) if number == 0 else draw(random, best[1] if adaptive and best and number > 20 else None)
        values = curve(params, effects, epochs=epochs, random=random)
        failed = number >= 1 and number <= failures
        end = int(random.integers(0, 3)) if failed else _stop(values, seen, eta=eta) if stop else epochs
        state = TrialState.FAIL if failed else TrialState.COMPLETE if end == epochs else TrialState.PRUNED
        if number >= num_trials + failures - running:
            state, end = TrialState.RUNNING, min(end, 2)
        trials.append(_trial(number, params, values[:end], state=state, clocks=clocks, random=random))
        if state == TrialState.COMPLETE and (best is None or values[-1] > best[0]):
            best = (values[-1], params)
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials)
    return study


def _stop(values: list[float], seen: dict[int, list[float]], *, eta: int) -> int:
    """The epoch at which asynchronous successive halving ends this curve."""
    for rung, others in seen.items():
        others.append(values[rung - 1])
        if values[rung - 1] < np.quantile(others, 1 - 1 / eta):
            return rung
    return len(values)


def _trial(
    number: int,
    params: dict[str, Any],
    values: list[float],
    *,
    state: TrialState,
    clocks: list[datetime],
    random: np.random.Generator,
) -> FrozenTrial:
    slot = clocks.index(min(clocks))
    start = clocks[slot]
    seconds = (0.4 + 0.01 * params["width_0"]) * (1 + 0.1 * random.random())
    worker = {"node": "node-a", "worker": f"node-a:{1000 + slot}", "device": "cpu"}
    history = [
        {"epoch": e, "train_loss": 2.0 / e, "loss": 1 - v, "accuracy": v, "seconds": seconds}
        | {"images_per_second": 5000 / seconds, "started": (start + timedelta(seconds=(e - 1) * seconds)).timestamp()}
        | worker
        for e, v in enumerate(values, start=1)
    ]
    end = start + timedelta(seconds=len(values) * seconds + 0.2)
    clocks[slot] = end
    attrs: dict[str, Any] = {"seed": number, "history": history, "weights": 100 * params["width_0"] * params["depth"]}
    if state == TrialState.FAIL:
        attrs |= {"failure": "Diverged: loss is nan in epoch 2", "failure_kind": "diverged"}
    return FrozenTrial(
        number=0,
        trial_id=0,
        state=state,
        value=values[-1] if values and state in (TrialState.COMPLETE, TrialState.PRUNED) else None,
        datetime_start=start,
        datetime_complete=None if state == TrialState.RUNNING else end,
        params=params,
        distributions={name: DISTRIBUTIONS[name] for name in params},
        user_attrs=attrs,
        system_attrs={},
        intermediate_values=dict(enumerate(values, start=1)),
    )


def make_run(**changes: Any) -> SimpleNamespace:
    """What run.json would say of such a study."""
    run = {"name": "synthetic", "space": "synthetic", "fingerprint": "0123abcd", "dataset": "digits", "seed": 0}
    run |= {
        "dataset_checksum": "ab" * 32,
        "train_size": None,
        "validation_fraction": 0.1,
        "epochs": 27,
        "min_epochs": 1,
        "table": None,
        "split": RANDOM,
        "folds": 1,
    }
    run |= {"reduction_factor": 3, "pruner": "asha", "sampler": "tpe", "metric": "accuracy", "direction": "maximize"}
    run |= {"trials": 60, "baseline": dict(BASELINE), "versions": {"optuna": "5.0.0"}, "commit": "0" * 40}
    run |= {"command": "python -m search.run --space synthetic", "created": "2026-01-05T09:00:00+00:00"}
    run |= {"machine": {"cpus": 2, "gpus": 0, "host": "host-a", "cpu_model": "test"}, "slots": 2, "data_dir": "data"}
    run |= {"rungs": (1, 3, 9, 27), "ranges": (), "replaced": (), "priors": (), "earlier": (), "second": None} | changes
    return SimpleNamespace(**run)
