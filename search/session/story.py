"""Writes events.jsonl: passes on the events of a search, and appends those that the file does not have yet.

An event is appended after the study has stored what it says. What a killed search stored but did not append is appended
when the search is resumed, so that the file in the end has every event of the study once.
"""

import signal
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from search.process.secrets import redact_text
from search.process.tabular import finite as as_json
from search.scheduling.messages import Events
from search.scheduling.search import Search
from search.storage.events import FORMAT, EventFile, finite
from search.storage.expected import Expected
from search.storage.presence import StudyLostError
from search.storage.requests import Request
from search.storage.run import Run
from search.storage.standings import Standings
from search.storage.trials import epochs_reached, is_from_earlier, is_infeasible
from spaces.changes import ReplacedRange

_ENDS = {
    TrialState.COMPLETE: "trial_finished",
    TrialState.PRUNED: "trial_pruned",
    TrialState.FAIL: "trial_failed",
}
_ANSWERS = {"accepted": "request_accepted", "refused": "request_refused"}
_ONCE = (
    "trial_started", "epoch_reported", "trial_paused", "trial_promoted", *_ENDS.values(), *_ANSWERS.values(),
    "range_changed",
)  # fmt: skip
"""Events that each trial, each epoch of a trial, each request, or each change of a range has at most once."""


def _is_lost(line: Mapping[str, Any], known: Mapping[int, FrozenTrial]) -> bool:
    """Whether the study has no such trial, or none with these parameters, or not this epoch of it."""
    trial = known.get(line.get("trial", -1))
    if line["event"] == "trial_started":
        return trial is None or as_json(dict(trial.params)) != line["params"]
    return line["event"] == "epoch_reported" and (trial is None or line["epoch"] not in trial.intermediate_values)


def why_stopped(search: Search, received: int | None) -> tuple[str, str | None]:
    """Why a search has ended, in a word and with a detail: `signal`, `SIGINT`.

    Args:
        received: the signal that stopped it, if any.
    """
    if received is not None:
        return "signal", signal.Signals(received).name
    if search.fatal is not None:
        return "error", redact_text(f"{type(search.fatal).__name__}: {search.fatal}".splitlines()[0][:500])
    if search.out_of_time:
        return "time budget", None
    if search.outlook.verdict is not None:
        return "expected gain", search.outlook.verdict.text(search.run.metric)
    return "finished", None


class Story:
    """The events of a search, on their way to the console or a logger."""

    def __init__(self, run: Run, run_dir: Path, *, events: Events) -> None:
        self._run, self._events = run, events
        self._told: set[tuple[Any, ...]] = set()
        self._standings = Standings(run.objective)
        self._best: tuple[int, float] | None = None
        """The best trial that was written last, and its value."""
        self._file: EventFile | None = None
        try:
            self._file = EventFile(run_dir)
        except OSError as error:
            self._give_up(error)

    def begin(self, trials: Iterable[FrozenTrial], requests: Iterable[Request] = ()) -> None:
        """Append that the search starts or continues, and what is missing of the trials and requests of the study."""
        own = _own(trials)
        self._drop_lost(own)
        lines = [] if self._file is None else self._file.lines
        for line in lines:
            self._told.add(_key(line["event"], line))
            self._best = (line["trial"], line["value"]) if line["event"] == "best_changed" else self._best
        if not lines:
            self._started(recovered=bool(own))
        for trial in own:
            if ("end", trial.number) in self._told:
                self._standings.add(trial)
        for trial in own:
            self._complete(trial, recovered=True)
        self._compare(recovered=True)
        for request in requests:
            self._answered(request, recovered=True)
        for one in self._run.replaced:
            self._replaced(one)
        if lines or own:
            self._append("search_resumed", trials=self._run.trials)

    def _replaced(self, one: ReplacedRange) -> None:
        fields = {"parameter": one.parameter, "before": one.text, "after": one.now, "first_trial": one.until}
        self._append("range_changed", **fields, changed=one.changed)

    def _drop_lost(self, trials: Iterable[FrozenTrial]) -> None:
        """Remove all lines if one tells what the study lacks, which was then restored from an older copy."""
        known = {trial.number: trial for trial in trials}
        if self._file is None or not any(_is_lost(line, known) for line in self._file.lines):
            return
        try:
            self._file.clear()
        except OSError as error:
            self._give_up(error)

    def _started(self, *, recovered: bool) -> None:
        run = self._run
        self._append(
            "search_started", recovered=recovered, format=FORMAT, run=run.name, space=run.space, metric=run.metric,
            direction=run.direction, trials=run.trials, epochs=run.epochs, rungs=list(run.rungs), sampler=run.sampler,
            pruner=run.pruner, seed=run.seed,
        )  # fmt: skip

    def _complete(self, trial: FrozenTrial, *, recovered: bool) -> None:
        """Append what the study has of a trial and the file has not.

        Args:
            recovered: whether it is from a search that was killed before it could write the line.
        """
        if trial.state == TrialState.WAITING:
            return
        self._begun(trial, recovered=recovered)
        history = [record for record in trial.user_attrs.get("history", []) if isinstance(record, dict)]
        by_epoch = {record.get("epoch"): record for record in history}
        for epoch, value in sorted(trial.intermediate_values.items()):
            self._epoch(trial.number, epoch, value, by_epoch.get(epoch, {}), recovered=recovered)
        if trial.state in _ENDS:
            self._end(trial, recovered=recovered)
        elif trial.intermediate_values and self._pauses(trial):
            self._append("trial_paused", recovered=recovered, trial=trial.number, epoch=epochs_reached(trial))

    def started(self, trial: FrozenTrial) -> None:
        self._events.started(trial)
        epoch = epochs_reached(trial)
        self._begun(trial)
        if epoch and self._pauses(trial) and ("trial_promoted", trial.number, epoch) not in self._told:
            self._append("trial_paused", trial=trial.number, epoch=epoch)
            self._append("trial_promoted", trial=trial.number, epoch=epoch)
        elif epoch:
            self._append("trial_continued", trial=trial.number, epoch=epoch)

    def epoch(self, trial: FrozenTrial, record: dict[str, Any]) -> None:
        self._events.epoch(trial, record)
        epoch = int(record["epoch"])
        self._epoch(trial.number, epoch, trial.intermediate_values.get(epoch), record)

    def paused(self, trial: FrozenTrial) -> None:
        self._events.paused(trial)
        event = "trial_paused" if self._pauses(trial) else "trial_interrupted"
        self._append(event, trial=trial.number, epoch=epochs_reached(trial))

    def ended(self, trial: FrozenTrial) -> None:
        self._events.ended(trial)
        self._end(trial)

    def steered(self, request: Request) -> None:
        self._events.steered(request)
        self._answered(request)

    def foreseen(self, expected: Expected) -> None:
        self._events.foreseen(expected)

    def notice(self, text: str) -> None:
        self._events.notice(text)

    def stopped(self, search: Search, received: int | None) -> None:
        """Append why the search ends now.

        Args:
            received: the signal that stopped it, if any.
        """
        if isinstance(search.fatal, StudyLostError):  # another search writes to the file now
            return self._close()
        for trial in _own(search.ledger.trials):  # one that was refused when it was taken up has had no event
            self._complete(trial, recovered=False)
        reason, detail = why_stopped(search, received)
        self._append("search_stopped", reason=reason, detail=detail, trials=len(search.trials))
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _pauses(self, trial: FrozenTrial) -> bool:
        """Whether a trial that has stopped here waits at a rung; planned ones do not."""
        is_rung = epochs_reached(trial) in self._run.rungs[:-1]
        return is_rung and self._run.pruner == "asha" and (is_from_earlier(trial) or "tag" not in trial.user_attrs)

    def _begun(self, trial: FrozenTrial, *, recovered: bool = False) -> None:
        params, attrs = dict(trial.params), trial.user_attrs
        fields = {"trial": trial.number, "params": params, "seed": attrs["seed"], "tag": attrs.get("tag")}
        self._append("trial_started", recovered=recovered, **fields)

    def _epoch(
        self, number: int, epoch: int, value: float | None, record: dict[str, Any], *, recovered: bool = False
    ) -> None:
        numbers = {name: finite(one) for name, one in record.items() if _is_number(one) and name != "epoch"}
        fields = {"trial": number, "epoch": epoch, "value": finite(value), "metrics": numbers}
        self._append("epoch_reported", recovered=recovered, **fields)

    def _end(self, trial: FrozenTrial, *, recovered: bool = False) -> None:
        fields: dict[str, Any] = {"trial": trial.number, "epochs": epochs_reached(trial)}
        if trial.state == TrialState.FAIL:
            attrs = trial.user_attrs
            fields |= {"cause": redact_text(str(attrs.get("failure", ""))), "kind": str(attrs.get("failure_kind", ""))}
        else:
            fields["value"] = finite(trial.value)
        if ("end", trial.number) not in self._told:
            self._append(_ENDS[trial.state], recovered=recovered, **fields)
            self._standings.add(trial)
            self._compare(recovered=recovered)

    def _compare(self, *, recovered: bool) -> None:
        """Append that the best trial is another one, or that its value has changed because it was repeated."""
        best = self._standings.best
        if best is None or finite(best.value) is None or self._best == (best.trial.number, best.value):
            return
        previous, self._best = self._best, (best.trial.number, best.value)
        fields = {"trial": best.trial.number, "value": best.value, "previous": previous and previous[1]}
        self._append("best_changed", recovered=recovered, **fields)

    def _answered(self, request: Request, *, recovered: bool = False) -> None:
        if (event := _ANSWERS.get(request.state)) is None:
            return
        fields = {"request": request.number, "text": request.text, "verb": request.verb, "trial": request.trial}
        self._append(event, recovered=recovered, **fields, trials=list(request.trials), answer=request.answer)

    def _append(self, event: str, *, recovered: bool = False, **fields: Any) -> None:
        key = _key(event, fields)
        if self._file is None or (event in _ONCE and key in self._told):
            return
        try:
            self._file.append(event, recovered=recovered, **fields)
        except OSError as error:
            self._give_up(error)
        else:
            self._told.add(key)

    def _give_up(self, error: OSError) -> None:
        self._file = None
        reason = error.strerror or str(error)
        self._events.notice(f"events.jsonl cannot be written ({reason}); the search goes on, and a resume completes it")


def _own(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The trials of this search that it trains, without those of other programs."""
    return [trial for trial in trials if "seed" in trial.user_attrs and not is_infeasible(trial)]


def _key(event: str, fields: dict[str, Any]) -> tuple[Any, ...]:
    if event in _ENDS.values():
        return ("end", fields.get("trial"))
    if event == "range_changed":
        return (event, fields["parameter"], fields["first_trial"], fields["after"])
    return (event, fields.get("trial"), fields.get("epoch"), fields.get("request"))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
