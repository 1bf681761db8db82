"""Optuna's samplers and pruners by name, and how a sampler sees the trials of a search that pauses them."""

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from search.algorithms.front_rungs import AnyRungs
from search.storage.trials import is_paused
from spaces.asking import contains
from spaces.ranges import current
from trainables.plain import is_plain

if TYPE_CHECKING:
    from search.algorithms.tpe import Encodings
    from search.storage.run import Run

NUM_STARTUP_TRIALS = 10
"""Number of trials that are drawn before a sampler learns from them."""
MAX_SEEN = 256
"""Most finished trials, and most infeasible configurations, that TPE sees: its cost grows with their number."""
_CMAES = "cma:"
"""How the system attributes begin in which Optuna's CMA-ES keeps its state."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """Facts about the trials of a study that are kept up to date, so that no pass over all trials is needed."""

    rungs: AnyRungs
    infeasible: Sequence[int]
    """Numbers of the configurations that exceeded a bound, ascending."""
    level: Callable[[int], object] = lambda _: None
    """Number of a trial -> the level of a question that it has; trials are ranked among those of the same level."""


View = Callable[[Sequence[FrozenTrial], Collection[int], Known], list[FrozenTrial]]
"""All trials, the numbers of those with a worker, and `Known` -> the trials as the sampler sees them."""


def make_sampler(name: str, *, seed: int, trial_seed: int, encodings: "Encodings | None") -> BaseSampler:
    """A new sampler for one trial. Its suggestion depends only on the study and the seeds, so a resumed search suggests
    the same as an uninterrupted one.

    Args:
        name: tpe, random, gp, cmaes or qmc; any other name is a file in this folder that defines `make_sampler`.
        seed: seed of the run; a quasi-random sequence must be one sequence over all trials.
        trial_seed: seed of the trial that is about to be sampled.
        encodings: those of this study, for TPE; None for Optuna's own TPE.
    """
    startup = NUM_STARTUP_TRIALS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match name:
            case "tpe":
                return _tpe(encodings, num_startup_trials=startup, seed=trial_seed)
            case "gp":
                return optuna.samplers.GPSampler(n_startup_trials=startup, seed=trial_seed)
            case "cmaes":
                return optuna.samplers.CmaEsSampler(n_startup_trials=startup, seed=trial_seed)
            case "qmc":
                return optuna.samplers.QMCSampler(scramble=True, seed=seed)
            case "random":
                return optuna.samplers.RandomSampler(seed=trial_seed)
        return import_module(f"search.algorithms.{name}").make_sampler(seed=seed, trial_seed=trial_seed)


def make_encodings() -> "Encodings | None":
    """What our TPE keeps from one suggestion to the next.

    None in plain mode, and with an Optuna in which the private names have changed: then Optuna's own TPE is used.
    """
    if is_plain():
        return None
    try:
        from search.algorithms.tpe import Encodings
    except ImportError:
        return None
    return Encodings()


def _tpe(encodings: "Encodings | None", *, num_startup_trials: int, seed: int) -> BaseSampler:
    if encodings is None:
        return optuna.samplers.TPESampler(
            multivariate=True, group=True, constant_liar=True, n_startup_trials=num_startup_trials, seed=seed
        )
    from search.algorithms.tpe import QuickTPESampler

    return QuickTPESampler(encodings, num_startup_trials=num_startup_trials, seed=seed)


def make_pruner(run: "Run") -> BasePruner:
    """The early-stopping rule as a pruner of Optuna; "asha" pauses trials instead, so its pruner never stops one."""
    match run.pruner:
        case "asha-stop":
            return optuna.pruners.SuccessiveHalvingPruner(
                min_resource=run.min_epochs, reduction_factor=run.reduction_factor
            )
        case "hyperband":
            return optuna.pruners.HyperbandPruner(
                min_resource=run.min_epochs, max_resource=run.epochs, reduction_factor=run.reduction_factor
            )
        case "median":
            return optuna.pruners.MedianPruner(n_warmup_steps=run.min_epochs)
        case "asha" | "none":
            return optuna.pruners.NopPruner()
    raise ValueError(f"unknown pruner {run.pruner!r}; available: asha, asha-stop, hyperband, median, none")


def make_view(run: "Run") -> View:
    """The function that shows the trials of a study to the sampler: if ranges were replaced, those that lie in the
    present ones, as if they had been drawn from them, since Optuna's samplers expect one range of a parameter."""
    view = _view(run)
    if not (ranges := current(run.ranges, run.replaced)):
        return view
    since = max(one.until for one in run.replaced)
    return lambda trials, live, known: within(view(trials, live, known), ranges, since=since)


def within(trials: Sequence[FrozenTrial], ranges: Mapping[str, BaseDistribution], *, since: int) -> list[FrozenTrial]:
    """The trials whose values lie in these ranges, with these ranges.

    Args:
        since: number of the first trial that was drawn from them. What CMA-ES stored with earlier ones is left out,
            because it holds for the earlier ranges.
    """
    found = []
    for trial in trials:
        drawn = {name: one for name, one in ranges.items() if name in trial.params}
        if all(contains(one, trial.params[name]) for name, one in drawn.items()):
            copied = _copy(trial, state=trial.state, value=trial.value)
            copied.distributions = {**trial.distributions, **drawn}
            if trial.number < since:
                copied.system_attrs = {k: v for k, v in trial.system_attrs.items() if not k.startswith(_CMAES)}
            found.append(copied)
    return found


def _view(run: "Run") -> View:
    """As `make_view`, for ranges that were never replaced.

    A paused trial is not shown as running, because its value so far is known. With promotion, TPE sees every trial that
    reached a rung as finished, with its pooled rank as the value, so that values of different epochs are never
    compared. Of many trials it sees the best `MAX_SEEN / 4` and an even selection of the others, which is enough for
    its two densities. With a question, the value is the rank among the trials of the same level, so that TPE learns
    from all levels. Random samplers see all trials as they are; the other samplers see paused trials as pruned.
    """
    sign = run.objective.sign

    def ranked(trials: Sequence[FrozenTrial], live: Collection[int], known: Known) -> list[FrozenTrial]:
        places = _places(known.rungs.pooled(), known.level)
        order = sorted(places, key=places.__getitem__)
        finished = [number for number in order if number not in live]
        best = finished[: MAX_SEEN // 4]
        shown = {*best, *_evenly(finished[len(best) :], MAX_SEEN - len(best))}
        others = set(range(len(trials))).difference(finished, known.infeasible)
        others.update(_evenly(known.infeasible, MAX_SEEN))
        return [
            _as_finished(trials[number], value=sign * (1 - places[number])) if number in shown else trials[number]
            for number in sorted(shown | others)
        ]

    def paused_as_pruned(trials: Sequence[FrozenTrial], live: Collection[int], _: Known) -> list[FrozenTrial]:
        return [_as_pruned(t) if is_paused(t, rungs=run.rungs, live=live) else t for t in trials]

    if run.second is not None and run.sampler == "tpe":  # only ranks count both objectives
        return ranked
    if run.pruner != "asha" or run.sampler in ("curves", "random"):
        return lambda trials, live, known: list(trials)
    return ranked if run.sampler == "tpe" else paused_as_pruned


def _places(order: Sequence[int], level: Callable[[int], object]) -> dict[int, float]:
    """The place of each trial among those of its level, from 0 for the best up to 1."""
    members: dict[object, list[int]] = {}
    for number in order:
        members.setdefault(level(number), []).append(number)
    return {number: place / len(same) for same in members.values() for place, number in enumerate(same)}


def _evenly(numbers: Sequence[int], count: int) -> Sequence[int]:
    """At most `count` of these, evenly spaced."""
    return numbers if len(numbers) <= count else [numbers[i * len(numbers) // count] for i in range(count)]


def _as_finished(trial: FrozenTrial, *, value: float) -> FrozenTrial:
    return _copy(trial, state=TrialState.COMPLETE, value=value)


def _as_pruned(trial: FrozenTrial) -> FrozenTrial:
    return _copy(trial, state=TrialState.PRUNED, value=trial.intermediate_values[max(trial.intermediate_values)])


def _copy(trial: FrozenTrial, *, state: TrialState, value: float | None) -> FrozenTrial:
    """A copy that shares everything else with the trial; `create_trial` would check every parameter again."""
    copied = FrozenTrial.__new__(FrozenTrial)  # `copy.copy` takes ten times as long
    vars(copied).update(vars(trial))
    copied.state, copied.value = state, value
    return copied
