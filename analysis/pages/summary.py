"""The first screen of the report: the best configuration, how sure that is, what mattered and what it cost."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.datasets.images import Overview
from analysis.datasets.tables import TableOverview
from analysis.impact.effects import Effect
from analysis.impact.impact import Confidence, Impact, confidence
from analysis.pages.page import Facts, Folder, Section, Text, text
from analysis.studies.parameters import label
from analysis.studies.trials import (
    COMPLETE,
    FAILED,
    INFEASIBLE,
    STATES,
    STOPPED,
    UNFINISHED,
    WAITING,
    Trials,
    config_of,
)
from analysis.wording import named
from search.process.arguments import command

_WORDS = {
    COMPLETE: "complete",
    STOPPED: "stopped early",
    UNFINISHED: "unfinished (running, paused or interrupted)",
    FAILED: "failed",
    INFEASIBLE: "infeasible (not counted)",
    WAITING: "waiting",
}


def summary(
    trials: Trials,
    impact: Impact,
    found: Overview | TableOverview | str,
    folder: Folder,
    *,
    tested: Sequence[tuple[str, str, str]] = (),
) -> Section:
    """What a busy reader takes away in a minute.

    Args:
        tested: what the sealed test set said; it comes first, and in the place of how sure the search alone is.
    """
    num_validation = _num_validation(found)
    sure = confidence(trials, num_validation=num_validation)
    blocks: list[Any] = [text(states(trials))]
    if sure is None:
        blocks.append(text(_missing(trials), kind="warning"))
    blocks.append(Facts(facts=(*tested, *_facts(trials, impact, sure, found, is_tested=bool(tested)))))
    if len(trials.measured):
        blocks += _mattered(impact)
    if sure is not None:
        caption = "The best complete configuration" + (" beside the baseline." if trials.baseline else ".")
        blocks.append(folder.table("best", best_table(trials), caption=caption))
        if not tested:
            blocks.append(text(_luck(sure), kind="note"))
    return Section(id="summary", title="Summary", blocks=tuple(blocks))


def _num_validation(found: Overview | TableOverview | str) -> int | None:
    return None if isinstance(found, str) else found.num_validation


def states(trials: Trials) -> str:
    """How many trials there are, by how they ended."""
    counts = trials.trials["state"].value_counts()
    told = [f"{counts[state]} {_WORDS[state]}" for state in STATES if state in counts]
    total = int(counts.sum())
    return f"{total} trial{'s' if total != 1 else ''}: {', '.join(told)}." if total else "The study has no trials yet."


def _missing(trials: Trials) -> str:
    if trials.trials.empty:
        return (
            "The study is empty: the search stopped, or its time budget ended, before the first trial started. "
            "Continue it with --resume, then create the report again."
        )
    failed = int((trials.trials["state"] == FAILED).sum())
    why = f" {failed} trials failed; the reasons are below." if failed else ""
    return (
        f"No trial has been trained to the full budget of {trials.full_epochs} epochs yet, so there is no best "
        f"trial.{why}"
    )


def _facts(
    trials: Trials,
    impact: Impact,
    sure: Confidence | None,
    found: Overview | TableOverview | str,
    *,
    is_tested: bool,
) -> list[tuple[str, str, str]]:
    facts = []
    if sure is not None and trials.best is not None and not is_tested:
        where = f"trial {trials.best['number']}, {trials.full_epochs} epochs{beside_baseline(trials)}"
        facts.append((f"Best {named(trials.metric, trials.target_unit)}", value(trials, sure.value), where))
        facts.append(("How sure", *_sureness(trials, sure, _num_validation(found))))
    audit = impact.audit
    if not audit.epochs_trained:
        return facts
    clear = [effect for effect in impact.effects if effect.found]
    names = ", ".join(effect.parameter for effect in clear[:3]) or "nothing is clear yet"
    facts.append(("What mattered most", names, f"{len(clear)} of {len(impact.effects)} hyperparameters have an effect"))
    cost = f"{audit.epochs_trained:,} epochs"
    if (trials.trials["state"] == STOPPED).any():  # what is merely unfinished was not saved
        cost += f"; early stopping saved {audit.saved:.0%} of {audit.epochs_full:,}"
    facts.append(("What it cost", duration(audit.seconds_trained), cost))
    return facts


def beside_baseline(trials: Trials) -> str:
    """What the baseline reached, if it was trained to the end and is not the best itself."""
    for _, trial in trials.trials[trials.trials["state"] == COMPLETE].iterrows():
        if trials.baseline and config_of(trial) == trials.baseline:
            is_best = trials.best is not None and trial["number"] == trials.best["number"]
            return "; it is the baseline" if is_best else f"; the baseline reached {value(trials, trial['value'])}"
    return ""


def _sureness(trials: Trials, sure: Confidence, num_validation: int | None) -> tuple[str, str]:
    gap = "the only complete trial"
    if np.isfinite(sure.second):
        gap = f"{difference(trials, abs(sure.value - sure.second))} better than the second of {sure.num_complete}"
    if not np.isfinite(sure.low):
        return gap, f"a search alone gives no interval for {named(trials.metric)}; fresh seeds do"
    others = "no other trial lies" if sure.tied == 0 else f"{sure.tied} more trial{'s lie' * (sure.tied > 1)}"
    others += "" if sure.tied != 1 else " lies"
    interval = f"{value(trials, sure.low)} to {value(trials, sure.high)}"
    return interval, f"95 % interval from {num_validation} validation rows; {others} inside it; {gap}"


def _luck(sure: Confidence) -> str:
    return (
        f"The best of {sure.num_complete} values on one validation split is partly luck, so expect a slightly worse "
        f"value on new data. The final evaluation ({command('analysis.final')}) measures that on fresh seeds and the "
        f"test set."
    )


def _mattered(impact: Impact) -> list[Text]:
    told = [effect.sentence for effect in impact.effects if effect.found][:6]
    if told:
        return [text("Effect of each hyperparameter, with the others held constant:"), text(*told, kind="list")]
    return [text("No hyperparameter has a statistically clear effect yet.")]


def best_table(trials: Trials) -> pd.DataFrame:
    """hyperparameter, best, baseline: what the best complete trial used."""
    best = trials.best
    config = {} if best is None else config_of(best)
    names = [p.name for p in trials.parameters if p.name in config or p.name in trials.baseline]
    kinds = {p.name: p.kind for p in trials.parameters}

    def shown(values: Any, name: str) -> str:
        if name not in values:
            return "not active"
        return label(int(values[name]) if kinds[name] == "integer" else values[name])

    columns = {"hyperparameter": names, "best": [shown(config, name) for name in names]}
    if trials.baseline:  # a search whose bounds no version of it keeps to has none
        columns["baseline"] = [shown(trials.baseline, name) for name in names]
    return pd.DataFrame(columns)


def value(trials: Trials, number: float) -> str:
    """A value of the objective: 97.3 % or 0.482."""
    return f"{100 * number:.2f} %" if trials.points == 100 else f"{number:.4g}"


def difference(trials: Trials, number: float) -> str:
    """A difference of the objective: 0.3 points or 0.0021 rmse."""
    return f"{number * trials.points:.2f}{trials.unit}" if trials.points == 100 else f"{number:.3g}{trials.unit}"


def duration(seconds: float) -> str:
    """A time for people."""
    if not np.isfinite(seconds) or seconds <= 0:
        return "unknown time"
    if seconds < 120:
        return f"{seconds:.0f} s of training"
    minutes = round(seconds / 60)
    return f"{minutes} min of training" if minutes < 120 else f"{minutes / 60:.1f} h of training"


def effect_table(effects: list[Effect], trials: Trials) -> pd.DataFrame:
    """One row per hyperparameter: the contrast, its interval, and from what it comes."""
    scale = trials.points
    rows = [
        {
            "hyperparameter": e.parameter,
            "contrast": f"{e.better} against {e.worse}" if e.better else "",
            "effect": e.estimate * scale,
            "low": e.low * scale,
            "high": e.high * scale,
            "verdict": "effect" if e.found else ("no effect found" if e.curve is not None else "too few trials"),
            "epoch": e.budget or None,
            "trials": e.num_trials,
            "measured there": e.num_measured,
        }
        for e in effects
    ]
    return pd.DataFrame(rows)
