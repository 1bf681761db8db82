"""An audit of early stopping: whether rungs agree with the end, what stopping saved, and what other rules would do."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from analysis.studies.rows import COMPLETE, STOPPED, UNFINISHED
from analysis.studies.trials import Trials
from search.process.text import counted, share_saved

LIMITS = (
    "It is not known how stopped trials would have continued. Rank correlations use only the trials that continued, "
    "which are similar because they were selected, so they usually understate the agreement among all trials. "
    "When a replayed rule continues a trial that was stopped, the epochs to the next rung are counted but give no new "
    "value. Trials are replayed one after another in the order of their numbers."
)

WEAK = 0.3
"""Rank correlation of the first rung and the end below which, if its interval includes zero, a warning is due."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Early stopping in numbers."""

    correlations: pd.DataFrame
    """rung, later, correlation, low, high, num_trials: rank correlation of two rungs, 95 % bootstrap interval."""
    survival: pd.DataFrame
    """rung, reached, went_on: how many trials got there and how many trained beyond it."""
    epochs_trained: int
    """By the trials with values, without repeats: what those that failed lack was not saved by early stopping."""
    epochs_full: int
    """What training every one of the same trials to the full budget takes."""
    seconds_trained: float
    seconds_full: float
    """Of that, the seconds, by each trial's own speed."""
    what_if: pd.DataFrame
    """reduction_factor, first_rung, epochs, saved, best, lost, unknown: rules replayed on the recorded curves."""

    @property
    def saved(self) -> float:
        """Share of the full epochs that were not trained."""
        return share_saved(self.epochs_trained, full=self.epochs_full)


def disagreement(trials: Trials, audit: Audit) -> str:
    """A warning that the first rung did not rank the trials like the end; empty where it did, or is not known."""
    ends = {"rung": trials.rungs[0], "later": trials.full_epochs}
    rows = audit.correlations[(audit.correlations[[*ends]] == pd.Series(ends)).all(axis=1)]
    if rows.empty or not trials.trials["state"].isin([STOPPED, UNFINISHED]).any():
        return ""
    row = rows.iloc[0]
    if not (row["correlation"] < WEAK and row["low"] <= 0):
        return ""
    return (
        f"Among the {int(row['num_trials'])} trials that reached the end, the values after "
        f"{counted(trials.rungs[0], 'epoch')} did not predict the final order (rank correlation "
        f"{row['correlation']:.2f} [{row['low']:.2f}, {row['high']:.2f}]). Early stopping may have discarded good "
        f"trials: use a later first rung (--min-epochs)."
    )


def audit(trials: Trials, *, bootstraps: int = 500, seed: int = 0) -> Audit:
    """The audit of a study; tables are empty where there is nothing to compare."""
    rows = trials.measured
    done = rows[rows["state"].isin([COMPLETE, STOPPED])]
    speed = rows["seconds"] / rows["epochs"]
    return Audit(
        correlations=_correlations(trials, rows, bootstraps=bootstraps, seed=seed),
        survival=_survival(trials, rows),
        epochs_trained=int(rows["epochs"].sum()),
        epochs_full=int(len(rows) * trials.full_epochs),
        seconds_trained=float(rows["seconds"].sum()),
        seconds_full=float((speed * trials.full_epochs).sum()),
        what_if=_what_if(trials, done),
    )


def _correlations(trials: Trials, rows: pd.DataFrame, *, bootstraps: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    found = []
    for i, rung in enumerate(trials.rungs):
        for later in trials.rungs[i + 1 :]:
            both = rows[[f"rung_{rung}", f"rung_{later}"]].dropna().to_numpy()
            if len(both) < 5:
                continue
            drawn = random.integers(0, len(both), size=(bootstraps, len(both)))
            low, high = np.nanquantile(_spearman(both[drawn]), [0.025, 0.975])
            row = {"rung": rung, "later": later, "correlation": _spearman(both[None])[0], "low": low, "high": high}
            found.append(row | {"num_trials": len(both)})
    columns = ["rung", "later", "correlation", "low", "high", "num_trials"]
    return pd.DataFrame(found, columns=pd.Index(columns))


def _spearman(samples: np.ndarray) -> np.ndarray:
    """(B,): the rank correlation of each sample of pairs, (B, N, 2); NaN where one side is constant."""
    ranks = stats.rankdata(samples, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    shared, spread = ranks.prod(axis=2).sum(axis=1), np.sqrt((ranks**2).sum(axis=1).prod(axis=1))
    return np.divide(shared, spread, out=np.full(len(samples), np.nan), where=spread > 0)


def _survival(trials: Trials, rows: pd.DataFrame) -> pd.DataFrame:
    reached = [int((rows["epochs"] >= rung).sum()) for rung in trials.rungs]
    beyond = [int((rows["epochs"] > rung).sum()) for rung in trials.rungs]
    return pd.DataFrame({"rung": trials.rungs, "reached": reached, "went_on": beyond})


def _what_if(trials: Trials, done: pd.DataFrame) -> pd.DataFrame:
    """The recorded curves under asynchronous successive halving with other settings."""
    columns = ["reduction_factor", "first_rung", "epochs", "saved", "best", "lost", "unknown"]
    at_end = (done["state"] == COMPLETE) & (done["epochs"] >= trials.full_epochs)
    if at_end.sum() < 2 or trials.full_epochs < 2:
        return pd.DataFrame(columns=pd.Index(columns))
    curves = _curves(trials, done)
    full = curves.shape[0] * trials.full_epochs
    best = trials.sign * np.nanmax(trials.sign * curves[:, -1])
    rows = []
    for eta in (2, 3, 4):
        for first in sorted({1, *trials.rungs[:3]} - {trials.full_epochs}):
            rungs = [first * eta**k for k in range(20) if first * eta**k < trials.full_epochs]
            epochs, kept, unknown = replay(curves * trials.sign, rungs, eta=eta)
            reached = trials.sign * np.nanmax(np.where(kept, trials.sign * curves[:, -1], np.nan), initial=-np.inf)
            reached = reached if np.isfinite(reached) else np.nan
            row = {"reduction_factor": eta, "first_rung": first, "epochs": epochs, "saved": 1 - epochs / full}
            rows.append(row | {"best": reached, "lost": (best - reached) * trials.sign + 0.0, "unknown": unknown})
    return pd.DataFrame(rows, columns=pd.Index(columns))


def _curves(trials: Trials, done: pd.DataFrame) -> np.ndarray:
    """(N, epochs): the recorded values, the last one carried over gaps inside a curve, NaN beyond its end."""
    wide = trials.epochs.pivot(index="trial", columns="epoch", values="value")
    wide = wide.reindex(index=done.index, columns=range(1, trials.full_epochs + 1)).astype(float)
    inside = np.arange(1, trials.full_epochs + 1)[None, :] <= done["epochs"].to_numpy()[:, None]
    return wide.ffill(axis=1).where(inside).to_numpy()


def replay(curves: np.ndarray, rungs: list[int], *, eta: int) -> tuple[int, np.ndarray, int]:
    """Replay asynchronous successive halving on recorded curves (larger is better), one trial after another.

    Args:
        curves: (N, epochs), NaN beyond a curve's end.
        rungs: epochs at which a trial must be among the best 1 / eta of those seen there so far.

    Returns:
        epochs: trained in all; kept: (N,) True for trials that reach the full budget; unknown: how many trials the
        rule would have continued beyond their recorded end.
    """
    ends = (~np.isnan(curves)).sum(axis=1)
    full = curves.shape[1]
    seen: dict[int, list[float]] = {rung: [] for rung in rungs}
    epochs, unknown = 0, 0
    kept = np.zeros(len(curves), dtype=bool)
    for i, curve in enumerate(curves):
        stop = full
        for rung in rungs:
            if rung > ends[i]:
                stop, unknown = rung, unknown + 1
                break
            value = curve[rung - 1]
            seen[rung].append(value)
            if np.isnan(value) or (np.array(seen[rung]) > value).sum() >= max(1, len(seen[rung]) // eta):
                stop = rung
                break
        else:
            kept[i] = ends[i] >= full
            unknown += int(not kept[i])
        epochs += stop
    return epochs, kept, unknown
