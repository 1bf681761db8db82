"""Optuna's own samplers and pruners by name, and what a sampler gets to see of a search that pauses its trials."""

import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from search.algorithms.halving import Rungs
from search.storage.trials import is_paused
from trainables.plain import is_plain

if TYPE_CHECKING:
    from search.algorithms.tpe import Encodings
    from search.storage.run import Run

NUM_STARTUP_TRIALS = 10
"""Ranked trials before a sampler learns from them."""
MAX_SEEN = 256
"""Finished trials, and infeasible draws, that TPE gets to see: what a suggestion costs grows with their number."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of a study's trials without going through them."""

    rungs: Rungs
    infeasible: Sequence[int]
    """Numbers of the draws that exceeded a bound, ascending."""
    level: Callable[[int], object] = lambda _: None
    """What a trial, by its number, is ranked among: the level of a question that it has."""


View = Callable[[Sequence[FrozenTrial], Collection[int], Known], list[FrozenTrial]]


def make_sampler(name: str, *, seed: int, trial_seed: int, encodings: "Encodings | None") -> BaseSampler:
    """A fresh sampler for one trial, so that a suggestion depends on the study and the seeds alone: a resumed search
    suggests what the undisturbed one would have.

    Args:
        name: tpe, random, gp, cmaes or qmc; of any other, the file of this name in this folder has a `make_sampler`.
        seed: of the run; a quasi-random sequence must be one sequence over all trials.
        trial_seed: of the trial that is about to be sampled.
        encodings: of this study, for TPE; None for Optuna's own.
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

    None in plain mode, and with an Optuna whose inner names are others: its own TPE then suggests.
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
    """The early-stopping rule; promotion ("asha") pauses instead, so nothing is pruned while it runs."""
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
    """What the sampler sees of the study.

    A paused trial is no running one: it has told what it is worth so far. Under promotion TPE sees every trial that
    reached a rung as finished, with its pooled rank as the value, so that values of different epochs never meet; of
    many trials it sees the best quarter of `MAX_SEEN` and an even selection of the others, which is all that its two
    densities need. Where a question is asked, a trial is worth its rank among those of its level: what is good with one
    level is learnt from the others. Random draws depend on no trial; the other samplers see paused trials as pruned.
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


def _copy(trial: FrozenTrial, *, state: TrialState, value: float) -> FrozenTrial:
    """Shares all else with the stored trial: `create_trial` would check every parameter again, for every suggestion."""
    copied = FrozenTrial.__new__(FrozenTrial)  # `copy.copy` takes ten times as long
    vars(copied).update(vars(trial))
    copied.state, copied.value = state, value
    return copied
