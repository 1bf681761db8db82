"""Turns the evaluations of all contenders into `FinalResults`, of which page, card and notebook are made."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from analysis.datasets.tables import how_split
from analysis.evaluation.contenders import Contender
from analysis.evaluation.job import Job
from analysis.evaluation.networks import Network, cost_of
from analysis.scores import comparison
from analysis.scores.classification import CLASS_METRICS
from analysis.scores.ece import NUM_BINS, chance_calibration_error, confidence_bins
from analysis.scores.metrics import Evaluation
from analysis.scores.residuals import describe_residuals
from analysis.statistics.bootstrap import share_interval, unit_of_rows
from analysis.studies.openings import read_openings
from analysis.studies.results import Entrant
from search.runtime.machine import provenance
from spaces.objectives import DEFAULT_GOALS
from trainables.data.dataset import Dataset, Split

FEW_SEEDS = 3
"""Seeds up to which Student's t is above 3: 12.7 for two, 4.3 for three."""
MOST_MISTAKES = 24
"""Of the exported network, the most confident first."""
_USUAL_INTERVALS = "bootstrap over rows, Student's t over seeds"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One configuration's networks and their answers for the test rows."""

    contender: Contender
    networks: Sequence[Network]
    outputs: np.ndarray
    """(S, N, K) or (S, N)."""
    images_per_second: float
    augmented: str = ""
    """The test-time augmentation of this row."""

    @property
    def name(self) -> str:
        """Unique among all rows."""
        return f"{self.contender.name}+{self.augmented}" if self.augmented else self.contender.name


def describe_search(job: Job, *, metric: str, winner: str, test: Split | None = None) -> dict[str, Any]:
    """What final.json says of the run, of the machine, and of how often the test set had been opened.

    Args:
        metric: by which the entrants are compared.
        winner: name of an entrant.
        test: the sealed rows; None of code of the user's own.
    """
    openings = read_openings(job.final_dir)
    is_usual = job.space.own or metric in DEFAULT_GOALS.values()  # published results are in these
    return {
        "run": job.run.name,
        "run_dir": str(job.run_dir),
        "command": job.command,
        "metric": metric,
        "winner": winner,
        "space": job.run.space,
        "dataset": job.run.dataset,
        "direction": job.run.direction,
        "criterion": job.criterion,
        "intervals": describe_intervals(job, test),
        "references": [asdict(reference) for reference in job.space.references] if is_usual else [],
        **provenance(job.resources),
        "openings": len(openings),
        "opened": openings,
    }


def describe_intervals(job: Job, test: Split | None) -> str:
    """How the intervals were computed, in words; None for test rows of the user's own code."""
    over = "rows"
    if test is not None:
        rule, number = job.dataset.split, num_groups(test)
        if unit_of_rows(test.groups) is not None:
            over = f"{number:,} whole groups of rows"
        elif number == 1:
            over = "rows of the only test group, which does not show how groups differ"
        elif rule.way == "group" and test.groups is None:
            over = "rows as if they were independent, because the groups of the test rows are not known"
        elif rule.way == "time":
            over = "rows as if they were independent; neighbours in time that are alike make them too narrow"
    return f"bootstrap over {over}; Student's t over seeds" if over != "rows" else _USUAL_INTERVALS


def few_seeds(found: Evaluation, metric: str, baseline: Evaluation | None) -> bool:
    """Whether an interval of the score, or of its difference, is mainly as wide as it is because seeds are few.

    That is where it is more than twice as wide as over the rows alone, and Student's t of the seeds is above 3.
    """
    if not 1 < len(found.scores[metric]) <= FEW_SEEDS:
        return False
    pairs = [(found.replicates[metric], found.over_rows[metric])]
    if baseline is not None:
        pairs.append((pairs[0][0] - baseline.replicates[metric], pairs[0][1] - baseline.over_rows[metric]))
    return any(_width(whole) > 2 * _width(rows) for whole, rows in pairs)


def _width(replicates: np.ndarray) -> float:
    low, high = np.quantile(replicates, (0.025, 0.975))
    return float(high - low)


def num_groups(test: Split) -> int:
    """Groups of the test rows; 0 if they have none."""
    return 0 if test.groups is None else len(np.unique(test.groups))


def describe_conditions(test: Split, winner: "Measured", dataset: Dataset) -> dict[str, Any]:
    """The `conditions` of final.json: budget, rows and device of the winner's training."""
    last = winner.networks[0].trial.user_attrs["history"][-1]
    digest = hashlib.sha256()
    for rows in (test.x, test.y):
        digest.update(np.ascontiguousarray(rows.numpy()).data)
    return {
        "epochs": winner.networks[0].stop_epoch,
        "schedule_epochs": winner.networks[0].epochs,
        "seeds": len(winner.networks),
        "train_rows": len(dataset.train),
        "held_out_rows": len(dataset.validation),
        "test_rows": len(test),
        **({"test_groups": number} if 0 < (number := num_groups(test)) < len(test) else {}),
        "test_checksum": digest.hexdigest(),
        "device": last.get("device", "cpu"),
        "precision": last.get("precision"),
        "augmentation": str(winner.contender.params.get("augmentation", "none")).replace("_", ", "),
        "extra_data": False,
        "split": how_split(dataset),
    }


def describe_entrants(
    measured: Sequence[Measured],
    found: dict[str, Evaluation],
    y: np.ndarray,
    *,
    metric: str,
    classes: Sequence[str],
    sign: int | None = None,
    groups: np.ndarray | None = None,
) -> list[Entrant]:
    """The entrants of the results.

    Args:
        groups: of each test row (N,). McNemar's test supposes independent rows and is left out of rows in groups.
        sign: 1 where more of the metric is better, -1 where less is; known from its name when None.
    """
    plain = {m.name: found[m.name] for m in measured if not m.augmented}
    independent = None if unit_of_rows(groups) is not None else y
    best = comparison.probability_best(plain, metric=metric, better=sign)
    baseline = next((m for m in measured if m.name == "baseline"), None)
    return [
        Entrant(
            **_scores(m, found[m.name], classes=classes),
            **_comparison(m, baseline, found, independent, metric=metric, sign=sign),
            probability_best=best.get(m.name),
            confusion=comparison.confusion(y, m.outputs).tolist() if classes else [],
        )
        for m in measured
    ]


def _scores(measured: Measured, found: Evaluation, *, classes: Sequence[str]) -> dict[str, Any]:
    contender = measured.contender
    described: dict[str, Any] = {
        "name": measured.name,
        "role": "augmented" if measured.augmented else contender.role,
        "trial": contender.trial,
        "params": contender.params,
        "search_value": contender.search_value,
        "criterion": contender.criterion,
        "seeds": [network.seed for network in measured.networks],
        **cost_of(measured.networks),
        "images_per_second": measured.images_per_second,
        "scores": {metric: found.interval(metric).as_dict() for metric in found.scores},
        "by_seed": {metric: values.tolist() for metric, values in found.scores.items()},
    }
    if classes:
        described["classes"] = {
            name: {metric: found.class_interval(metric, index).as_dict() for metric in CLASS_METRICS}
            for index, name in enumerate(classes)
        }
    return described


def _comparison(
    measured: Measured,
    baseline: Measured | None,
    found: dict[str, Evaluation],
    y: np.ndarray | None,
    *,
    metric: str,
    sign: int | None,
) -> dict[str, Any]:
    described: dict[str, Any] = {}
    value = measured.contender.search_value
    if value is not None and not measured.augmented:
        described["optimism"] = comparison.optimism(value, found[measured.name], metric=metric, better=sign).as_dict()
    if baseline is None or measured is baseline:
        return described
    gap = comparison.difference(found[measured.name], found[baseline.name], metric=metric)
    described["difference"] = gap.as_dict()
    rows = _same_seeds(measured, baseline)
    if y is not None and measured.outputs.ndim == 3 and y.ndim == 1 and rows:
        mine, theirs = (list(pair) for pair in zip(*rows, strict=True))
        described["mcnemar"] = comparison.mcnemar(y, measured.outputs[mine], baseline.outputs[theirs])
    return described


def _same_seeds(first: Measured, second: Measured) -> list[tuple[int, int]]:
    """Positions of the networks that both trained from the same seed."""
    there = {network.index: position for position, network in enumerate(second.networks)}
    return [(i, there[network.index]) for i, network in enumerate(first.networks) if network.index in there]


def describe_winner(
    y: np.ndarray,
    winner: Measured,
    *,
    classes: Sequence[str],
    train_y: np.ndarray | None,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> dict[str, Any]:
    """What final.json says of the winner in detail: its most frequent and most confident mistakes, its calibration."""
    exported = winner.outputs[0]
    if not classes:
        return describe_residuals(y, winner.outputs, train_y, groups=groups, seed=seed)
    pairs = comparison.confused_pairs(comparison.confusion(y, winner.outputs))
    for pair in pairs:
        pair |= {"label": classes[pair["label"]], "predicted": classes[pair["predicted"]]}
    return {
        "support": dict(zip(classes, np.bincount(y, minlength=len(classes)).tolist(), strict=True)),
        "confused": pairs,
        "calibration": {"bins": calibration_bins(y, exported, groups), "chance": chance_calibration_error(exported)},
        "mistakes": confident_mistakes(y, exported, classes=classes),
    }


def calibration_bins(y: np.ndarray, p: np.ndarray, groups: np.ndarray | None = None) -> list[dict[str, float]]:
    """Mean confidence and accuracy of each bin, with the Wilson 95 % interval of the accuracy; see `share_interval`."""
    bins, confidence, right = confidence_bins(p), p.max(1), p.argmax(1) == y
    described = []
    for members in (bins == index for index in range(NUM_BINS)):
        if members.any():
            low, high = share_interval(right[members], None if groups is None else groups[members])
            described.append(
                {
                    "confidence": float(confidence[members].mean()),
                    "accuracy": float(right[members].mean()),
                    "low": low,
                    "high": high,
                    "rows": int(members.sum()),
                }
            )
    return described


def confident_mistakes(y: np.ndarray, p: np.ndarray, *, classes: Sequence[str]) -> list[dict[str, Any]]:
    """The wrong answers with the highest confidence."""
    predicted, confidence = p.argmax(1), p.max(1)
    wrong = np.flatnonzero(predicted != y)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MOST_MISTAKES]
    return [
        {
            "row": int(row),
            "label": classes[int(y[row])],
            "predicted": classes[int(predicted[row])],
            "confidence": float(confidence[row]),
            "probability_of_label": float(p[row, y[row]]),
        }
        for row in worst
    ]


def describe_failures(failures: Sequence[Any]) -> list[dict[str, Any]]:
    """The `failures` of final.json."""
    return [asdict(failure) for failure in failures]
