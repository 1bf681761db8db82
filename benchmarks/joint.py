"""How often the joint intervals of a front hold the truth of all its configurations, on simulated test sets.

    python -m benchmarks.joint --hundreds 1    # an interrupted one continues
    python -m benchmarks.joint --show          # the table of the last result

Each simulated test set has configurations of equally spaced accuracies, or root mean squared errors. A row is difficult
for all networks (0.6 of the variance), for all networks of a configuration (0.15), or for one network (0.25). Networks
of one configuration that differ in their seed also differ in their truth, as much as `spread` says: 0.04 is a standard
deviation of 0.7 points of accuracy at 90 %, and of 4 % of a root mean squared error. Errors of a regression are normal,
or of Student's t with 5 degrees of freedom. The replicates are those of the final evaluation
(`analysis/statistics/bootstrap.py`), and so are the intervals.
"""

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from analysis.scores.comparison import joint
from analysis.scores.metrics import Evaluation
from analysis.statistics.bootstrap import NUM_REPLICATES, combine, image_draws, seed_steps
from benchmarks.harness import RESULTS, describe_conditions, kept_cells, write_result
from search.process.arguments import parse

TARGET = (0.93, 0.97)
"""Share of the fronts of which all intervals hold the truth."""
SHARES = (0.6, 0.15, 0.25)
"""Of the variance of a row: that of all networks, of a configuration, of a network."""
KINDS = {
    "accuracy 0.6 to 0.75": (0.75, 0.6),
    "accuracy 0.8 to 0.92": (0.92, 0.8),
    "accuracy 0.95 to 0.99": (0.99, 0.95),
}
FREEDOM = {"rmse, normal errors": None, "rmse, errors of t(5)": 5}
SETS, BATCH = 100, 20
"""Test sets that are simulated at once, and those of them that share their draws of rows."""
Cell = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the coverage of joint intervals."""

    hundreds: int = 1
    """Hundreds of simulated test sets of each case."""
    rows: tuple[int, ...] = (200, 1000, 10_000)
    """Test rows."""
    configurations: tuple[int, ...] = (3, 12)
    """Configurations on the front."""
    seeds: tuple[int, ...] = (2, 3, 5)
    """Networks of each configuration."""
    spreads: tuple[float, ...] = (0.04,)
    """How much networks of a configuration differ."""
    keep: Path = Path("runs/joint.jsonl")
    """Cases that have been simulated, one a line; those that are here are not simulated again."""
    show: bool = False
    """Only print the table of the last result."""


def simulate(cell: Cell, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """What the metric sums up over the rows, (K, S, N), and the true metric of each configuration (K,).

    Hits of a classification, and squared errors of a regression.
    """
    shape = cell["configurations"], cell["seeds"], cell["rows"]
    sizes = ((1, 1, shape[2]), (shape[0], 1, shape[2]), shape)
    errors = sum(np.sqrt(part) * random.standard_normal(size) for part, size in zip(SHARES, sizes, strict=True))
    luck = cell["spread"] * random.standard_normal((*shape[:2], 1))
    if cell["kind"] in KINDS:
        scores = norm.ppf(np.linspace(*KINDS[cell["kind"]], shape[0]))
        return errors < scores[:, None, None] + luck, norm.cdf(scores / np.sqrt(1 + cell["spread"] ** 2))
    freedom = FREEDOM[cell["kind"]]
    sigma = np.linspace(0.5, 0.8, shape[0])
    second = 1.0 if freedom is None else freedom / (freedom - 2)
    if freedom is not None:
        errors = errors / np.sqrt(random.chisquare(freedom, shape[2]) / freedom)
    # the mean of a log-normal spread of the networks' errors
    truth = sigma * np.exp(cell["spread"] ** 2 / 2) * np.sqrt(second)
    return (sigma[:, None, None] * np.exp(luck) * errors) ** 2, truth


def evaluations(terms: np.ndarray, drawn: np.ndarray, *, metric: str, random: np.random.Generator) -> list[Evaluation]:
    """The configurations as the final evaluation has them.

    Args:
        terms: of `simulate`.
        drawn: means of the terms over the rows of each replicate (B, K, S).
    """
    scores = terms.mean(-1)
    if metric == "rmse":
        scores, drawn = np.sqrt(scores), np.sqrt(drawn)
    found = []
    for mine, replicates in zip(scores, drawn.transpose(1, 0, 2), strict=True):
        steps = seed_steps(len(mine), len(replicates), random)
        both, alone = (combine(mine, replicates, by) for by in (steps, np.zeros_like(steps)))
        parts: dict[str, Any] = {"scores": {metric: mine}, "replicates": {metric: both}, "over_rows": {metric: alone}}
        found.append(Evaluation(**parts, support=np.zeros(1), num_units=terms.shape[-1]))
    return found


def measure(cell: Cell) -> dict[str, float]:
    """The share of test sets of which all intervals hold the truth, and how wide they are."""
    random = np.random.default_rng(np.frombuffer(json.dumps(cell).encode(), np.uint8).astype(np.uint32))
    metric = "accuracy" if cell["kind"] in KINDS else "rmse"
    held, alone, widths, ratios = [], [], [], []
    for _ in range(SETS // BATCH):
        batch = [simulate(cell, random) for _ in range(BATCH)]
        matrix = np.concatenate([terms.reshape(-1, cell["rows"]) for terms, _ in batch]).T.astype(np.float32)
        draws = image_draws(cell["rows"], NUM_REPLICATES, random)
        means = np.concatenate([part @ matrix for part in draws]).astype(np.float64) / cell["rows"]
        for (terms, truth), columns in zip(batch, np.split(means, len(batch), axis=1), strict=True):
            drawn = columns.reshape(-1, *terms.shape[:2])
            found = {str(k): one for k, one in enumerate(evaluations(terms, drawn, metric=metric, random=random))}
            together = list(joint(found, metric=metric).values())
            single = [one.interval(metric) for one in found.values()]
            truths = truth.tolist()
            held.append(all(one.low <= true <= one.high for one, true in zip(together, truths, strict=True)))
            alone.append(all(one.low <= true <= one.high for one, true in zip(single, truths, strict=True)))
            widths.append(np.median([one.high - one.low for one in together]))
            ratios.append(widths[-1] / np.median([one.high - one.low for one in single]))
    return {
        "coverage": float(np.mean(held)),
        "coverage_of_single_intervals": float(np.mean(alone)),
        "width": float(np.median(widths)),
        "width_over_single": float(np.median(ratios)),
    }


def cases(options: Options) -> Iterator[tuple[Cell, dict[str, float]]]:
    """Each hundred of each case with what is measured; the small cases first, and all cases once before any twice."""
    of_case = options.rows, options.seeds, options.configurations, options.spreads, (*KINDS, *FREEDOM)
    cells = (
        {"hundred": part, "rows": rows, "seeds": seeds, "configurations": count, "spread": spread, "kind": kind}
        for part, rows, seeds, count, spread, kind in itertools.product(range(options.hundreds), *of_case)
    )
    return kept_cells(cells, options.keep, measure)


def summarise(found: Sequence[tuple[Cell, dict[str, float]]]) -> list[dict[str, Any]]:
    """The coverage and the widths, over all cases of the same kind, rows and seeds, and over larger groups."""
    table, rows = pd.DataFrame([{**cell, **values} for cell, values in found]), []
    for by in (["kind", "rows", "seeds"], ["kind", "rows"], ["kind", "seeds"], ["seeds"], ["kind"]):
        for key, some in table.groupby(by, sort=False):
            count, held = SETS * len(some), float(some["coverage"].mean())
            rows.append(
                dict(zip(by, key, strict=True))
                | {
                    "sets": count,
                    "coverage": round(held, 3),
                    "standard_error": round((held * (1 - held) / count) ** 0.5, 3),
                }
                | {"inside_target": TARGET[0] <= round(held, 3) <= TARGET[1]}
                | {"single": round(float(some["coverage_of_single_intervals"].mean()), 3)}
                | {"width": round(float(some["width"].median()), 4)}
                | {"width_over_single": round(float(some["width_over_single"].median()), 2)}
            )
    return rows


def main() -> None:
    """Simulate, print the table and keep it."""
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.joint")
    if not options.show:
        results = summarise(list(cases(options)))
        conditions = describe_conditions(seed=0, hundreds=options.hundreds, replicates=NUM_REPLICATES, shares=SHARES)
        write_result("joint", {"target": TARGET, "results": results, "conditions": conditions})
    stored = json.loads((RESULTS / "joint.json").read_text())
    print(pd.DataFrame(stored["results"]).convert_dtypes().astype(object).fillna("all").to_string(index=False))


if __name__ == "__main__":
    main()
