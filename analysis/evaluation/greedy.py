"""The ensemble of a final evaluation, from networks that it has trained already.

If validation rows were held out (`--without-validation`), members are chosen on them: a greedy selection with
replacement among the networks of all contenders (Caruana et al. 2004). Otherwise every network has trained on all rows,
nothing is left to choose on, and the members are the winner's networks.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from analysis.evaluation.networks import Network
from analysis.evaluation.record import Measured
from analysis.model.ensemble import Member, mean_of, write_ensemble
from analysis.scores.answers import outputs_of
from analysis.scores.comparison import difference
from analysis.scores.metrics import evaluate
from trainables.data.dataset import Dataset, Split
from trainables.training.training import Training

ROUNDS = 50
"""Networks that are added one after another."""
Restore = Callable[[Network], Training]


def select(outputs: np.ndarray, y: np.ndarray) -> list[int]:
    """How often each network is in the ensemble whose mean has the least loss on these rows.

    In each round the network is added with which the mean of all chosen ones has the least loss; networks can be added
    again. Of all rounds the best is kept, the earliest of equal ones.

    Args:
        outputs: probabilities (M, N, K) or predictions (M, N) of M networks.
        y: labels or targets (N,).

    Returns:
        M counts, at least one of them positive.
    """
    chosen, best, kept = np.zeros(len(outputs), np.int64), np.inf, np.zeros(len(outputs), np.int64)
    total = np.zeros(outputs.shape[1:])
    for number in range(1, ROUNDS + 1):
        losses = [_loss((total + one) / number, y) for one in outputs]
        added = int(np.argmin(losses))
        total, chosen[added] = total + outputs[added], chosen[added] + 1
        if losses[added] < best - 1e-12:
            best, kept = losses[added], chosen.copy()
    return kept.tolist()


def _loss(outputs: np.ndarray, y: np.ndarray) -> float:
    """Log loss of probabilities, mean squared error of predictions."""
    if outputs.ndim == 1:
        return float(np.mean((outputs - y) ** 2))
    return float(-np.log(np.clip(outputs[np.arange(len(y)), y], 1e-12, None)).mean())


def evaluate_ensemble(
    measured: Sequence[Measured], dataset: Dataset, test: Split, restore: Restore, *, metric: str, seed: int
) -> tuple[list[tuple[Network, int]], dict[str, Any]]:
    """The members with their weights, and what final.json says of the ensemble.

    Args:
        measured: the answers of all networks for the test rows, the winner's first.
        dataset: its validation rows may be held out.
        test: the sealed rows.
        restore: gives the trained network.
        metric: by which the entrants are compared.
        seed: of the bootstrap.
    """
    plain = [one for one in measured if not one.augmented]
    held_out = dataset.validation
    groups = plain if len(held_out) else plain[:1]
    networks = [network for one in groups for network in one.networks]
    outputs = np.concatenate([one.outputs for one in groups])
    counts, told = [1] * len(networks), {}
    if len(held_out):
        seen = np.stack([outputs_of(restore(network), held_out.x) for network in networks])
        counts = select(seen, held_out.y.numpy())
        on_seen = {"ensemble": mean_of(seen, counts)[None], "winner": seen[:1]}
        found = evaluate(held_out.y.numpy(), on_seen, task=dataset.task, seed=seed, asked=(metric,))
        told["chosen_on"] = {"rows": len(held_out), **found["ensemble"].interval(metric).as_dict()}
    mean = mean_of(outputs, counts)
    pair = {"ensemble": mean[None], "exported": outputs[:1]}
    found = evaluate(test.y.numpy(), pair, task=dataset.task, seed=seed, asked=(metric,))
    told |= {"scores": {name: found["ensemble"].interval(name).as_dict() for name in found["ensemble"].scores}}
    told["difference"] = difference(found["ensemble"], found["exported"], metric=metric).as_dict()
    members = [(network, count) for network, count in zip(networks, counts, strict=True) if count]
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
