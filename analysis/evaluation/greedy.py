"""The ensemble of a final evaluation, from networks that are trained already.

They are those of the evaluation, or those that the trials of the search have left. Where there are rows on which none
of them trained, members are chosen on these rows: a greedy selection with replacement (Caruana et al. 2004). Trials
have such rows, the validation rows; the networks of the evaluation have them with `--without-validation`. Otherwise the
members are the winner's networks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.evaluation.networks import Network
from analysis.evaluation.record import Measured
from analysis.model.ensemble import Member, mean_of, write_ensemble
from analysis.scores.answers import outputs_of
from analysis.scores.comparison import difference
from analysis.scores.metrics import evaluate
from analysis.scores.tables import BaselineAnswers
from trainables.data.dataset import Dataset, Split
from trainables.data.options import Task
from trainables.training.quantile import quantile_in
from trainables.training.training import Training

ROUNDS = 50
"""Networks that are added one after another."""
Restore = Callable[[Network], Training]


def select(outputs: np.ndarray, y: np.ndarray, *, metric: str = "") -> list[int]:
    """How often each network is in the ensemble whose mean has the least loss on these rows.

    In each round the network is added with which the mean of all chosen ones has the least loss; networks can be added
    again. Of all rounds the best is kept, the earliest of equal ones.

    Args:
        outputs: probabilities (M, N, K) or predictions (M, N) of M networks.
        y: labels or targets (N,).
        metric: that of the search; a median or a quantile has a loss of its own.

    Returns:
        M counts, at least one of them positive.
    """
    chosen, best, kept = np.zeros(len(outputs), np.int64), np.inf, np.zeros(len(outputs), np.int64)
    total = np.zeros(outputs.shape[1:])
    for number in range(1, ROUNDS + 1):
        losses = [_loss((total + one) / number, y, metric=metric) for one in outputs]
        added = int(np.argmin(losses))
        total, chosen[added] = total + outputs[added], chosen[added] + 1
        if losses[added] < best * (1 - 1e-12):
            best, kept = losses[added], chosen.copy()
    return kept.tolist()


def _loss(outputs: np.ndarray, y: np.ndarray, *, metric: str) -> float:
    """Log loss of probabilities; mean squared error of predictions, or the loss of the quantile that they are."""
    if outputs.ndim == 1:
        quantile = 0.5 if metric == "mae" else quantile_in(metric)
        if quantile is None:
            return float(np.mean((outputs - y) ** 2))
        return float(np.mean(np.maximum(quantile * (y - outputs), (quantile - 1) * (y - outputs))))
    return float(-np.log(np.clip(outputs[np.arange(len(y)), y], 1e-12, None)).mean())


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Networks that can be members of the ensemble."""

    networks: Sequence[Network]
    outputs: np.ndarray
    """Their answers for the test rows: probabilities (M, N, K) or predictions (M, N)."""
    choosing: Split | None
    """Rows on which none of them trained, by which members are chosen; None for all as members."""
    restore: Restore


def _held_out(dataset: Dataset) -> Split:
    """The validation rows with their groups."""
    return replace(dataset.validation, groups=None if dataset.groups is None else dataset.groups[len(dataset.train) :])


def pool_of_networks(measured: Sequence[Measured], dataset: Dataset, restore: Restore) -> Pool:
    """Those that the evaluation has trained: all where validation rows were held out, otherwise the winner's.

    Args:
        measured: the answers of all networks for the test rows, the winner's first.
        dataset: its validation rows may be held out.
        restore: gives the trained network.
    """
    plain = [one for one in measured if not one.augmented]
    groups = plain if len(dataset.validation) else plain[:1]
    return Pool(
        networks=[network for one in groups for network in one.networks],
        outputs=np.concatenate([one.outputs for one in groups]),
        choosing=_held_out(dataset) if len(dataset.validation) else None,
        restore=restore,
    )


def pool_of_trials(networks: Sequence[Network], dataset: Dataset, test: Split, restore: Restore) -> Pool:
    """The networks that the trials of the search have left, to be chosen on its validation rows."""
    outputs = np.stack([outputs_of(restore(network), test.x) for network in networks])
    return Pool(networks=networks, outputs=outputs, choosing=_held_out(dataset), restore=restore)


def evaluate_ensemble(
    pool: Pool,
    test: Split,
    exported: np.ndarray,
    *,
    task: Task,
    metric: str,
    seed: int,
    methods: Sequence[BaselineAnswers] = (),
) -> tuple[list[tuple[Network, int]], dict[str, Any]]:
    """The members with their weights, and what final.json says of the ensemble.

    Args:
        pool: the networks that can be members.
        test: the sealed rows.
        exported: answers (N, K) or (N,) of the exported network for them.
        task: of the run.
        metric: by which the entrants are compared.
        seed: of the bootstrap.
        methods: answers of other methods for these rows.
    """
    counts, told = [1] * len(pool.networks), {}
    if pool.choosing is not None:
        y = pool.choosing.y.numpy()
        seen = np.stack([outputs_of(pool.restore(network), pool.choosing.x) for network in pool.networks])
        counts = select(seen, y, metric=metric)
        mean = {"ensemble": mean_of(seen, counts)[None]}
        found = evaluate(y, mean, task=task, seed=seed, asked=(metric,), groups=pool.choosing.groups)
        told["chosen_on"] = {"rows": len(y), "candidates": len(seen), **found["ensemble"].interval(metric).as_dict()}
    answers = {"ensemble": mean_of(pool.outputs, counts)[None], "exported": exported[None]}
    answers |= {method.name: method.outputs for method in methods}
    found = evaluate(test.y.numpy(), answers, task=task, seed=seed, asked=(metric,), groups=test.groups)
    told |= {"scores": {name: found["ensemble"].interval(name).as_dict() for name in found["ensemble"].scores}}
    gaps = {name: difference(found["ensemble"], found[name], metric=metric).as_dict() for name in answers}
    described = [(one.baseline.method, gaps[one.name]) for one in methods]
    told["difference"] = gaps["exported"]
    told["methods"] = [{"name": m.name, "title": m.title, "tuned": m.tuned, **gap} for m, gap in described]
    members = [(network, count) for network, count in zip(pool.networks, counts, strict=True) if count]
    told["members"] = [{"name": n.contender.name, "seed": n.seed, "count": count} for n, count in members]
    return members, told


def export_ensemble(folder: Any, members: Sequence[tuple[Network, int]], restore: Restore) -> dict[str, Any]:
    """Write the weights of the members; returns what model.json says of the ensemble."""
    named = [
        (
            Member(name=one.contender.name, seed=one.seed, params=one.contender.params, count=count),
            restore(one),
        )
        for one, count in members
    ]
    return write_ensemble(folder, named)
