"""The first screen of the report: the result beside the baseline, what mattered at the full budget, and the cost."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.impact.confirm import paired
from analysis.impact.effect import Effect
from analysis.impact.effects import MIN_TRIALS
from analysis.impact.impact import Impact
from analysis.pages.page import Facts, Folder, Section, text
from analysis.pages.questions import Said
from analysis.prose.outcome import Outcome
from analysis.prose.unfinished import ahead
from analysis.studies.amounts import cost, difference_text
from analysis.studies.earlier import carried_over
from analysis.studies.expectations import expectations
from analysis.studies.present import in_present_ranges, replaced_ranges
from analysis.studies.rows import COMPLETE, FAILED, INFEASIBLE, STATES, STOPPED, UNFINISHED, WAITING
from analysis.studies.steered import steered
from analysis.studies.trials import Trials, config_of
from search.process.text import counted
from search.storage.run import Run

_WORDS = {
    COMPLETE: "complete",
    STOPPED: "stopped early",
    UNFINISHED: "unfinished (running, paused or interrupted)",
    FAILED: "failed",
    WAITING: "waiting",
}
_MOST_TOLD = 6
"""Clear effects in the summary at most."""


def summary(
    trials: Trials,
    impact: Impact,
    folder: Folder,
    *,
    outcome: Outcome,
    answers: Said | None = None,
    ask: str = "",
    run: Run | None = None,
    confirmed: pd.DataFrame | None = None,
) -> Section:
    """The summary: result, clear effects, cost.

    Args:
        outcome: the sealed result if there is one, else what the validation rows say.
        answers: to the questions that were asked, which come before effects.
        ask: the command that asks about a hyperparameter; empty where it cannot be asked.
        run: the search; None for a study that plain Optuna made.
        confirmed: results of single changes that were trained again.
    """
    answers = answers or Said()
    blocks: list[Any] = [text(_what_happened(trials, run))]
    blocks += _earlier(trials, run, folder)
    if trials.best is None:
        blocks.append(text(_missing(trials), kind="warning"))
    blocks += [text(warning, kind="warning") for warning in (*outcome.warnings, ahead(trials)) if warning]
    blocks.append(Facts(facts=(*outcome.facts, *_facts(trials, impact, answers, None if run is None else run.machine))))
    if outcome.note:
        blocks.append(text(outcome.note))
    if len(trials.measured):
        blocks += mattered(trials, impact, answers=answers, ask=ask)
        blocks += _verified(trials, confirmed)
    if trials.best is not None:
        caption = "The best complete configuration" + (
            " beside the baseline, the configuration of the space that is tried first." if trials.baseline else "."
        )
        blocks.append(folder.table("best", best_table(trials), caption=caption))
    return Section(id="summary", title="Summary", blocks=tuple(blocks))


def _what_happened(trials: Trials, run: Run | None) -> str:
    ranges = "" if run is None else replaced_ranges(trials, run)
    said = (_what(run), ranges, states(trials), steered(trials), expectations(trials))
    return " ".join(filter(None, said))


def _what(run: Run | None) -> str:
    """What was searched, and what was set or expected for this search; empty for a study of plain Optuna."""
    if run is None:
        return ""
    found = "; ".join(map(str, run.ranges))
    ranges = f"Ranges that were set for this search: {found}. " if found else ""
    priors = f"Drawn more often, by --prior: {'; '.join(map(str, run.priors))}. " if run.priors else ""
    earlier = f"Taken from earlier searches: {'; '.join(map(str, run.earlier))}. " if run.earlier else ""
    return (
        f"A search of {run.subject} by the sampler {run.sampler}, seed {run.seed}. {ranges}{priors}{earlier}".rstrip()
    )


def _earlier(trials: Trials, run: Run | None, folder: Folder) -> list[Any]:
    if run is None or not run.earlier:
        return []
    caption = "What became of the configurations of earlier searches, which were trained first."
    return [folder.table("earlier", carried_over(trials, run), caption=caption)]


def states(trials: Trials) -> str:
    """How many trials there are, by how they ended; what was too large to be a trial is counted apart."""
    counts = trials.trials["state"].value_counts()
    sentences = [f"{counts[state]:,} {_WORDS[state]}" for state in STATES if state in counts and state != INFEASIBLE]
    skipped = int(counts.get(INFEASIBLE, 0))
    total = int(counts.sum()) - skipped
    said = [f"{counted(total, 'trial')}: {', '.join(sentences)}."] if total else []
    complete = trials.complete
    if repeats := int(complete["trainings"].sum()) - len(complete):
        said.append(f"The best were trained again, {counted(repeats, 'time')} in all.")
    if skipped:
        noun = f"{'further ' * bool(total)}configuration"
        many = counted(skipped, f"{noun} was", plural=f"{noun}s were")
        end = (
            "they were not trained and do not count as trials"
            if skipped > 1
            else "it was not trained and does not count as a trial"
        )
        said.append(f"{many} infeasible, for example too large: {end}.")
    return " ".join(said) or "The study has no trials yet."


def _missing(trials: Trials) -> str:
    if trials.trials.empty:
        return (
            "The study is empty: the search stopped, or its time budget ended, before the first trial started. "
            "Continue it with --resume, then create the report again."
        )
    failed = int((trials.trials["state"] == FAILED).sum())
    budget = counted(trials.full_epochs, "epoch")
    why = f" {counted(failed, 'trial')} failed; the reasons are below." if failed else ""
    return f"No trial has been trained to the full budget of {budget} yet, so there is no best trial.{why}"


def _facts(
    trials: Trials, impact: Impact, answers: Said, machine: Mapping[str, Any] | None
) -> list[tuple[str, str, str]]:
    audit = impact.audit
    if not audit.epochs_trained:
        return []
    clear = [effect for effect in impact.effects if effect.found]
    found = dict.fromkeys((*answers.decided, *(effect.parameter for effect in clear)))
    names = ", ".join([*found][:3]) or "not known"
    epochs = counted(trials.full_epochs, "epoch")
    judged = sum(effect.curve is not None for effect in impact.effects)
    words = f"clear effects after {epochs}: {len(clear)} of the {counted(judged, 'hyperparameter')} with enough data"
    if unknown := len(impact.effects) - judged:
        words += f"; nothing is known about the other {unknown}"
    if not clear:
        words = f"no hyperparameter has a clear effect after {epochs}"
    if answers.sentences:
        asked = (
            f"{len(answers.decided)} of {counted(len(answers.sentences), 'question')} decided; the answers are below"
        )
        words = asked if answers.decided and not clear else f"{words}; {asked}"
    time, more = cost(trials, machine)
    if (trials.trials["state"] == STOPPED).any():  # what is merely unfinished was not saved
        more += f"; early stopping saved {audit.saved:.0%} of {audit.epochs_full:,} epochs"
    return [("What mattered most", names, words), ("What it cost", time, more.replace("%", " %"))]


def mattered(trials: Trials, impact: Impact, *, answers: Said | None = None, ask: str = "") -> list[Any]:
    """Answers to questions and clear effects at the full budget; if there are none, how to find out."""
    clear = [effect.sentence for effect in impact.effects if effect.found][:_MOST_TOLD]
    blocks: list[Any] = []
    if answers and answers.sentences:
        blocks += [text("Questions that were asked:"), text(*answers.sentences, kind="list")]
    if clear:
        words = (
            f"Effects at the full budget of {counted(trials.full_epochs, 'epoch')}, estimated by a regression on the "
            f"{len(in_present_ranges(trials).complete)} trials that were trained to the end and adjusted for the other "
            "hyperparameters (95 % intervals). The search chose these trials, so asking a question gives surer answers:"
        )
        return [*blocks, text(words), text(*clear, kind="list")]
    return blocks or [text(untold(trials, impact, ask=ask))]


def _verified(trials: Trials, confirmed: pd.DataFrame | None) -> list[Any]:
    """The changes of the best configuration that were trained again and made a clear difference, improvements first."""
    if confirmed is None or confirmed.empty:
        return []
    found = paired(confirmed, sign=trials.sign)
    clear = found[found["found"]]
    better, worse = (_changes(trials, rows) for rows in (clear[clear["worth"] < 0][::-1], clear[clear["worth"] > 0]))
    trained = int(confirmed["epochs"].iloc[0]) if "epochs" in confirmed else trials.full_epochs
    length = f"{trained} of {trials.full_epochs} epochs" if trained < trials.full_epochs else "all epochs"
    said = [f"these improve the best configuration, so try them in the search (--try): {better}"] if better else []
    said += [f"these cost the best configuration the most: {worse}"] if worse else []
    full = trained == trials.full_epochs
    more = "" if full else " It is not known whether they matter as much after a full training."
    return [text(f"Trained again for {length} with one change each, {one}.{more}") for one in said]


def _changes(trials: Trials, rows: pd.DataFrame) -> str:
    """Changes with the size of the difference: `dropout: 0.3 to 0 (4.97 points)`."""
    told = rows.head(_MOST_TOLD).to_dict("records")
    return "; ".join(f"{row['flip']} ({difference_text(trials, abs(row['worth']))})" for row in told)


def untold(trials: Trials, impact: Impact, *, ask: str = "") -> str:
    """Why no effect is known at the full budget, and the command that finds out."""
    num_complete = len(in_present_ranges(trials).complete)
    judged = sum(effect.curve is not None for effect in impact.effects)
    budget = f"the full budget of {counted(trials.full_epochs, 'epoch')}"
    trained = f"{counted(num_complete, 'trial was', plural='trials were')} trained to the end"
    if judged:
        names = counted(len(impact.effects), "hyperparameter")
        said = f"No effect at {budget} is clear: {trained}, and {judged} of {names} could be judged."
    elif num_complete < MIN_TRIALS:
        said = f"Too few trials to tell what matters at {budget}: {trained}."
    else:
        said = f"No effect at {budget} can be estimated: {trained}, but too few with some of the values."
    return f"{said} {ask}".rstrip()


def best_table(trials: Trials) -> pd.DataFrame:
    """hyperparameter, best, baseline: what the best complete trial used."""
    best = trials.best
    config = {} if best is None else config_of(best)
    names = [p.name for p in trials.parameters if p.name in config or p.name in trials.baseline]
    known = {p.name: p for p in trials.parameters}

    def shown(values: Any, name: str) -> str:
        if name not in values:
            return "not active"
        return known[name].text(int(values[name]) if known[name].kind == "integer" else values[name])

    columns = {"hyperparameter": names, "best": [shown(config, name) for name in names]}
    if trials.baseline:  # a search whose bounds no version of it keeps to has none
        columns["baseline"] = [shown(trials.baseline, name) for name in names]
    return pd.DataFrame(columns)


def effect_table(effects: Sequence[Effect], trials: Trials) -> pd.DataFrame:
    """One row per hyperparameter: the contrast, its interval, and from what it comes."""
    scale = trials.points
    rows = [
        {
            "hyperparameter": e.parameter,
            "contrast": f"{e.better} against {e.worse}" if e.better else "",
            "effect": e.estimate * scale,
            "low": e.low * scale,
            "high": e.high * scale,
            "verdict": "effect" if e.found else ("no effect found" if e.curve is not None else e.lacking),
            "best trials": e.opposed,
            "epoch": e.budget or None,
            "trials": e.num_trials,
        }
        for e in effects
    ]
    return pd.DataFrame(rows)
