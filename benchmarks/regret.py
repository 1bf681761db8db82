"""Regret, mean rank and compute of replayed searches, with intervals over seeds, and their tables."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from search.process.text import counted

NUM_MOMENTS = 100
Cell = tuple[str, int, str, int]
"""Grid, workers, search and seed of one replayed search."""


def summarise(found: Mapping[Cell, Sequence[float]], *, ours: str, seed: int = 0) -> list[dict[str, Any]]:
    """What each tool reaches, for every grid and number of workers; intervals are 95 % and from a bootstrap over seeds.

    Args:
        found: the regrets of each search at the same moments.
        ours: the search with which the compute of the others is compared.
        seed: of the bootstrap.

    Returns:
        One dict per grid and number of workers; under `searches`, by name: `rank` (1 the best; at every moment, then
        averaged, so that neither the first moments nor a bad seed outweigh the others), `behind` (by how much that is
        more than the rank of ours with the same seed), `quarter` and `regret` (the
        regret after a quarter of the compute and at the end), each (mean, low, high); `compute`, how many times more
        compute the tool takes to its own final mean regret than ours takes to the same; `curve`, its mean regret.
    """
    results = []
    for grid, workers in sorted({cell[:2] for cell in found}):
        names = list(dict.fromkeys(cell[2] for cell in found if cell[:2] == (grid, workers)))
        seeds = sorted({cell[3] for cell in found if cell[:2] == (grid, workers)})
        regrets = np.array([[found[grid, workers, name, seed] for name in names] for seed in seeds])
        searches = _compare(regrets, names, ours=names.index(ours), rng=np.random.default_rng(seed))
        results.append({"grid": grid, "workers": workers, "seeds": len(seeds), "searches": searches})
    return results


def _compare(regrets: np.ndarray, names: Sequence[str], *, ours: int, rng: np.random.Generator) -> dict[str, Any]:
    """The summary of one grid and number of workers from regrets of shape (seeds, searches, moments)."""
    ranks = rankdata(regrets, axis=1).mean(2)
    draws = rng.integers(len(regrets), size=(2000, len(regrets)))
    summary: dict[str, Any] = {}
    for number, name in enumerate(names):
        mine = regrets[:, number]
        behind = ranks[:, number] - ranks[:, ours]
        columns = {
            "rank": ranks[:, number],
            "behind": behind,
            "quarter": mine[:, NUM_MOMENTS // 4 - 1],
            "regret": mine[:, -1],
        }
        summary[name] = {key: _with_interval(values, draws) for key, values in columns.items()}
        pair = regrets[:, [ours, number]]
        factors = [compute_factor(pair[drawn].mean(0)) for drawn in draws]
        summary[name]["compute"] = (compute_factor(pair.mean(0)), *np.percentile(factors, (2.5, 97.5)).tolist())
        summary[name]["curve"] = pair[:, 1].mean(0).round(6).tolist()
    return summary


def compute_factor(curves: np.ndarray) -> float:
    """How many times sooner the first mean regret falls to what the second ends at than the second does; (2, moments).

    Where the first never gets there, at most 1: its whole compute stands for the time it takes.

    >>> compute_factor(np.array([[0.4, 0.1, 0.1, 0.1], [0.5, 0.4, 0.3, 0.2]]))
    2.0
    """
    ours, theirs = np.minimum.accumulate(curves, axis=1)
    target = theirs[-1]
    reached = int(np.argmax(ours <= target)) + 1 if ours[-1] <= target else len(ours)
    return (int(np.argmax(theirs <= target)) + 1) / reached


def _with_interval(values: np.ndarray, draws: np.ndarray) -> tuple[float, float, float]:
    low, high = np.percentile(values[draws].mean(1), (2.5, 97.5))
    return float(values.mean()), float(low), float(high)


def tables(results: Iterable[Mapping[str, Any]]) -> str:
    """One Markdown table per grid and number of workers, the best mean rank first."""
    return "\n\n".join(_table(result) for result in results)


def _table(result: Mapping[str, Any]) -> str:
    lines = [
        f"**{result['grid']}, {counted(result['workers'], 'worker')}** ({result['seeds']} seeds)",
        "",
        "| search | mean rank | ranks behind ours | regret after a quarter | regret at the end "
        "| compute to its final regret, over ours |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in sorted(result["searches"].items(), key=lambda item: item[1]["rank"][0]):
        cells = ["{:.1f} ({:.1f} to {:.1f})".format(*row[key]) for key in ("rank", "behind")]
        cells += ["{:.2f} ({:.2f} to {:.2f})".format(*(100 * v for v in row[key])) for key in ("quarter", "regret")]
        cells.append("{:.1f}x ({:.1f} to {:.1f})".format(*row["compute"]))
        lines.append(" | ".join(["| " + name, *cells]) + " |")
    return "\n".join(lines)
