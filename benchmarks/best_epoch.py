"""Whether the value of a trial that keeps its best epoch predicts that of fresh networks, on small tables.

    python -m benchmarks.best_epoch --replays 10     # an interrupted one continues
    python -m benchmarks.best_epoch --show           # the table of the last result

Each replay draws the rows anew, and a configuration of `tabular_mlp` at random. One network is trained as in a search:
it keeps its best epoch, and has a value from validation rows that did not choose the epoch. Then networks on fresh
seeds are trained to this epoch of the same schedule, as in the final evaluation but on the same training rows, and
measured on rows that nothing has seen. Differences are in shares of the error of a constant prediction, or in shares
of the rows. Two other rules are beside it: the value of the last epoch, and the best value of any epoch.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import torch
from scipy import stats
from sklearn import datasets

from benchmarks.harness import RESULTS, describe_conditions, write_result
from search.process.arguments import parse
from spaces import tabular_mlp
from spaces.objectives import DEFAULT_GOALS, goal_named
from trainables.data.dataset import Dataset, Split
from trainables.data.table import encode, fit_columns
from trainables.trainable import Keep
from trainables.training import metrics
from trainables.training.best_epoch import BestEpoch
from trainables.training.config import TrainConfig
from trainables.training.training import Training

MOST_TRAINING, MOST_VALIDATION = 250, 80
LARGEST_WIDTH = 128


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare the told value of a kept epoch with that of fresh networks."""

    replays: int = 10
    """Replays of each table."""
    tables: tuple[str, ...] = ("wine", "breast_cancer", "diabetes", "noisy")
    """Tables of scikit-learn, or `noisy`, which is generated."""
    epochs: int = 54
    """Full budget, over which the schedule runs."""
    fresh: int = 2
    """Fresh seeds of each replay."""
    keep: Path = Path("runs/best_epoch.jsonl")
    """Replays that are done, one a line; they are not made again."""
    show: bool = False
    """Only print the table of the last result."""


def draw(name: str, *, seed: int) -> tuple[Dataset, Split]:
    """Training and validation rows of a table, and the rest of its rows."""
    random = np.random.default_rng(seed)
    x, y = _noisy(random) if name == "noisy" else getattr(datasets, f"load_{name}")(return_X_y=True)
    order = random.permutation(len(y))
    x, y, classes = x[order], y[order], () if name in ("diabetes", "noisy") else tuple(map(str, np.unique(y)))
    y = y.astype(np.int64) if classes else y.astype(np.float32)
    train = min(len(y) // 2, MOST_TRAINING)
    end = train + min(len(y) // 5, MOST_VALIDATION)
    cells = {f"column {i}": column.astype(np.float64) for i, column in enumerate(x.T.copy())}
    columns = fit_columns(cells, np.arange(train))
    rows, labels = torch.from_numpy(encode(cells, columns)), torch.from_numpy(y)
    parts = [Split(x=rows[at], y=labels[at]) for at in (slice(train), slice(train, end), slice(end, None))]
    found = Dataset(
        name=name, task="classification" if classes else "regression", train=parts[0], validation=parts[1],
        classes=classes, mean=(), std=(), checksum="", columns=columns,
    )  # fmt: skip
    return replace(found, metric=DEFAULT_GOALS[found.task]), parts[2]


def _noisy(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """2,000 rows, of which a third of the variance can be learned."""
    x = random.normal(size=(2_000, 8))
    return x, 0.7 * np.sin(2 * x[:, 0]) + 0.5 * x[:, 1] * x[:, 2] + random.normal(size=len(x))


def draw_configuration(*, seed: int) -> TrainConfig:
    """A small configuration of `tabular_mlp` at random."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    while True:
        found = tabular_mlp.SPACE.suggest(study.ask())
        if getattr(found.model, "width", 0) <= LARGEST_WIDTH:
            return found


def replay(name: str, *, seed: int, epochs: int, fresh: int) -> dict[str, Any]:
    """The told value, those of two other rules, and that of fresh networks on fresh rows, all as differences."""
    dataset, unseen = draw(name, seed=seed)
    config, goal = draw_configuration(seed=seed), goal_named(dataset.metric)
    training = Training(config, dataset, epochs=epochs, seed=seed)
    kept, outputs = BestEpoch(training, Keep(metric=goal.metric, maximize=goal.maximize)), []
    records = []
    for _ in range(epochs):
        records.append(kept.run_epoch())
        assert training.outputs is not None
        outputs.append(training.outputs.clone())
    now = [record["value_now"] for record in records]
    best = int(np.argmin([goal.order(value) for value in now]))
    told, epoch = records[-1][goal.metric], kept.kept_epoch
    at_kept = _fresh(
        config, dataset, unseen, epochs=epochs, stop=epoch, seeds=[seed + 1000 * (i + 1) for i in range(fresh)]
    )
    unit = 1.0 if dataset.classes else float(dataset.train.y.std())
    return {
        "table": name,
        "seed": seed,
        "kept_epoch": epoch,
        "told": goal.sign * (told - at_kept) / unit,
        "best_of_all_epochs": goal.sign * (now[best] - at_kept) / unit,
        "lost_by_last": goal.sign * (now[epoch - 1] - now[-1]) / unit,
        "kept_is_clearly_worse": is_clearly_worse(dataset, outputs[epoch - 1], outputs[best]),
        "last_is_clearly_worse": is_clearly_worse(dataset, outputs[-1], outputs[best]),
    }


def _fresh(
    config: TrainConfig, dataset: Dataset, unseen: Split, *, epochs: int, stop: int, seeds: Sequence[int]
) -> float:
    """The mean value on unseen rows of networks that are trained to this epoch."""
    values = []
    for seed in seeds:
        training = Training(config, dataset, epochs=epochs, seed=seed)
        for _ in range(stop):
            training.run_epoch()
        found = metrics.measure(dataset.task, training.predict(unseen.x), unseen.y, metric=dataset.metric)
        values.append(found[dataset.metric])
    return float(np.mean(values))


def is_clearly_worse(dataset: Dataset, outputs: torch.Tensor, best: torch.Tensor) -> bool:
    """Whether predictions lose to others by more than two standard errors over the validation rows."""
    y = dataset.validation.y
    if dataset.classes:
        losses = [(found.argmax(1) != y).double() for found in (outputs, best)]
    else:
        losses = [(found[:, 0] - y).double().square() for found in (outputs, best)]
    gap = losses[0] - losses[1]
    return float(gap.mean()) > 2 * float(gap.std()) / len(gap) ** 0.5


def replays(options: Options) -> Iterator[dict[str, Any]]:
    """Every replay; seeds outermost, so that an early end has whole rounds."""
    done = [json.loads(line) for line in options.keep.read_text().splitlines()] if options.keep.exists() else []
    known = {(one["table"], one["seed"]): one for one in done}
    options.keep.parent.mkdir(parents=True, exist_ok=True)
    for seed in range(options.replays):
        for name in options.tables:
            if (name, seed) not in known:
                known[name, seed] = replay(name, seed=seed, epochs=options.epochs, fresh=options.fresh)
                with options.keep.open("a") as file:
                    file.write(json.dumps(known[name, seed]) + "\n")
            yield known[name, seed]


def mean_and_interval(values: Sequence[float]) -> dict[str, float]:
    """The mean with Student's 95 % interval."""
    found = np.array(values)
    half = float(stats.t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found)))
    return {"value": float(found.mean()), "low": float(found.mean()) - half, "high": float(found.mean()) + half}


def summarise(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each table and one for all: optimism of the rules, and how many epochs are clearly worse."""
    table, rows = pd.DataFrame(found), []
    for name, some in (*table.groupby("table"), ("all", table)):
        row: dict[str, Any] = {"table": name, "replays": len(some), "kept_epoch": float(some["kept_epoch"].median())}
        for rule in ("told", "best_of_all_epochs", "lost_by_last"):
            row |= {f"{rule}_{key}": round(value, 4) for key, value in mean_and_interval(some[rule].tolist()).items()}
        row |= {rule: int(some[rule].sum()) for rule in ("kept_is_clearly_worse", "last_is_clearly_worse")}
        rows.append(row)
    return rows


def main() -> None:
    """Measure, print the table and keep it."""
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.best_epoch")
    if not options.show:
        torch.set_num_threads(1)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        results = summarise(list(replays(options)))
        conditions = describe_conditions(seed=0, replays=options.replays, epochs=options.epochs)
        write_result("best_epoch", {"results": results, "conditions": conditions})
    results = json.loads((RESULTS / "best_epoch.json").read_text())["results"]
    print(pd.DataFrame(results).T.to_string(header=False))


if __name__ == "__main__":
    main()
