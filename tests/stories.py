"""Holds events.jsonl against the study of a run."""

from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from search.storage.events import check_event, read_events
from search.storage.study import open_study
from search.storage.trials import is_infeasible

ONCE = ("trial_started", "epoch_reported", "trial_paused", "trial_promoted")
ENDS = {"trial_finished": TrialState.COMPLETE, "trial_pruned": TrialState.PRUNED, "trial_failed": TrialState.FAIL}


def check_story(folder: Path) -> list[dict[str, Any]]:
    """The events, which must have their schema, follow each other, and be those of the study, each once."""
    events = read_events(folder)
    for number, line in enumerate(events):
        check_event(line)
        assert line["number"] == number
    once = [(e["event"], e["trial"], e.get("epoch"), e.get("value")) for e in events if e["event"] in ONCE]
    assert len(set(once)) == len(once)
    trials = [t for t in open_study(folder).trials if "seed" in t.user_attrs and not is_infeasible(t)]
    trials = [t for t in trials if t.state != TrialState.WAITING]
    told = {(e["trial"], e["epoch"]): e["value"] for e in events if e["event"] == "epoch_reported"}
    assert told == {(t.number, epoch): v for t in trials for epoch, v in t.intermediate_values.items()}
    started = {e["trial"]: e["params"] for e in events if e["event"] == "trial_started"}
    assert started == {t.number: t.params for t in trials}
    ends = [(e["trial"], ENDS[e["event"]]) for e in events if e["event"] in ENDS]
    assert sorted(ends) == [(t.number, t.state) for t in trials if t.state.is_finished()]
    best = [(e["previous"], e["value"]) for e in events if e["event"] == "best_changed"]
    assert [previous for previous, _ in best] == [None, *(value for _, value in best)][: len(best)]
    return events
