"""The option --from: the configurations with which a search begins because they were the best of earlier runs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from search.storage.folder import find_run

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from search.scheduling.constraints import Examine
    from search.storage.earlier import Earlier, EarlierTrial
    from search.storage.run import Run
    from spaces.space import Space

_Argument = tyro.conf.arg(name="from", metavar="RUN", help_behavior_hint="")
From = Annotated[tuple[str, ...], _Argument, tyro.conf.UseAppendAction]
"""The type of the option."""
NUM_PLANNED = 3
"""Earlier configurations that are trained first: the best one, and those of the next ones that differ most."""
_AMONG = 6
"""Best earlier configurations, from which they are chosen."""
_MOST_KEPT = 50
"""Best earlier configurations that the run keeps: the first of them may exceed a bound on the size."""


def folders_of(texts: Sequence[str], runs_dir: Path) -> list[Path]:
    """The run folders that these words mean: paths, or names in the folder of runs.

    Raises:
        ValueError: one of them is no run, or two have the same name.
    """
    found = []
    for text in texts:
        try:
            folder = find_run(text, runs_dir)
        except ValueError as error:
            raise ValueError(f"--from {text[:80]}: {error}") from None
        known = [other.resolve() for other in found]
        if folder.resolve() in known:
            raise ValueError(f"--from must name each run once, got {folder.resolve().name!r} twice")
        if folder.resolve().name in (other.name for other in known):
            raise ValueError(f"--from: two runs are named {folder.resolve().name!r}; rename the folder of one of them")
        found.append(folder)
    return found


def take(texts: Sequence[str], *, runs_dir: Path, run: "Run", space: "Space") -> "tuple[Earlier, ...]":
    """What the search takes from these runs.

    Args:
        run: the new search, with its baseline.
        space: as it is searched.

    Raises:
        ValueError: a run has nothing that this search could use; the line has the option.
    """
    found = []
    for text, folder in zip(texts, folders_of(texts, runs_dir), strict=True):
        try:
            found.append(_take(folder, run, space))
        except ValueError as error:
            raise ValueError(f"--from {text[:80]}: {error}") from None
    return tuple(found)


def _take(folder: Path, run: "Run", space: "Space") -> "Earlier":
    from search.storage.run import read_run
    from search.storage.study import open_study

    source = replace(read_run(folder), name=folder.resolve().name)
    if source.direction != run.direction:
        raise ValueError(f"it has to {source.direction} {source.metric}, this search to {run.direction} {run.metric}")
    return earlier_of(source, open_study(folder).get_trials(deepcopy=False), run=run, space=space)


def earlier_of(source: "Run", stored: "Sequence[FrozenTrial]", *, run: "Run", space: "Space") -> "Earlier":
    """What a new search takes from the trials of an earlier one.

    Args:
        source: the earlier search, whose metric has the same direction.
        stored: its trials.
        run: the new search, with its baseline.
        space: as it is searched.

    Raises:
        ValueError: there is nothing that the new search could use.
    """
    from search.storage.earlier import Earlier
    from spaces.levels import parameters

    trials = [one for one in stored if _is_compared(one, source)]
    if not trials:
        raise ValueError("none of its trials has reached the first rung; resume it first")
    there = list(dict.fromkeys(name for one in trials for name in one.params))
    here = list(parameters(space.suggest, run.fixed))
    if not set(there) & set(here):
        raise ValueError("the spaces share no parameter; leave it out")
    differs = source.fingerprint != run.fingerprint  # of one space, a few trials need not have all parameters
    usable, outside = _carry(_best_first(trials, source, stored), run, space)
    if not usable:
        why = "; ".join(f"{name} is outside in {count}" for name, count in outside.items())
        raise ValueError(f"none of its {len(trials)} trials can be used here ({why}); leave it out")
    return Earlier(
        name=source.name,
        created=source.created,
        num_trials=len(trials),
        num_here=len(usable),
        outside=outside,
        new=tuple(name for name in here if differs and name not in there and name not in run.fixed),
        gone=tuple(name for name in there if differs and name not in here),
        best=tuple(usable[:_MOST_KEPT]),
    )


def _is_compared(trial: "FrozenTrial", source: "Run") -> bool:
    """Whether the search itself chose the trial, and it reached the first rung."""
    from search.storage.trials import is_infeasible, is_repeat

    if is_repeat(trial):
        return False
    if "seed" not in trial.user_attrs or is_infeasible(trial) or trial.user_attrs.get("failure_kind"):
        return False
    return math.isfinite(trial.intermediate_values.get(source.rungs[0], math.nan))


def _best_first(trials: "Sequence[FrozenTrial]", source: "Run", stored: "Sequence[FrozenTrial]") -> "list[FrozenTrial]":
    """The trials by the highest rung that each has reached, then by the value there, or the mean of its trainings."""
    from search.storage.standings import Standings

    standings = Standings(source.objective, stored)

    def place(trial: "FrozenTrial") -> tuple[int, bool, float, int]:
        rung = max(rung for rung in source.rungs if rung in trial.intermediate_values)
        standing = standings.of(trial.number)
        value = trial.intermediate_values[rung] if standing is None else standing.value
        return -rung, standing is not None and bool(standing.failed), source.objective.order(value), trial.number

    return sorted(trials, key=place)


def _carry(trials: "Sequence[FrozenTrial]", run: "Run", space: "Space") -> "tuple[list[EarlierTrial], dict[str, int]]":
    """The trials that this search can have, and how many it cannot, by the first parameter that is outside."""
    from search.storage.earlier import EarlierTrial

    held = {name: (value,) for name, value in run.fixed.items()}
    held |= {question.parameter: question.levels for question in run.questions}
    usable, outside = [], dict[str, int]()
    for trial in trials:
        params, misfit = carried(trial.params, space, base={**run.baseline, **run.fixed}, held=held)
        if misfit:
            outside[misfit] = outside.get(misfit, 0) + 1
        else:
            usable.append(EarlierTrial(number=trial.number, params=params))
    return usable, outside


def carried(
    params: Mapping[str, Any], space: "Space", *, base: Mapping[str, Any], held: Mapping[str, Sequence[Any]]
) -> tuple[dict[str, Any], str]:
    """An earlier configuration in this space, and the parameter whose value this space does not have, if any.

    Parameters that this space does not have are dropped; those that are missing have the value of `base`.

    Args:
        held: parameters that may have only these values.
    """
    from spaces.asking import AskedTrial, contains
    from spaces.levels import same, value_at

    class Carried(AskedTrial):
        misfit = ""

        def answer(self, name: str, distribution: "BaseDistribution") -> Any:
            allowed = held.get(name)
            if name in params:
                value = params[name]
                if contains(distribution, value) and (allowed is None or any(same(value, one) for one in allowed)):
                    return value
                self.misfit = self.misfit or name
            known = name in base and contains(distribution, base[name])
            value = base[name] if known else value_at(distribution, 0.5)
            if allowed is None or any(same(value, one) for one in allowed):
                return value
            return next((one for one in allowed if contains(distribution, one)), value)

    trial = Carried()
    space.suggest(trial)
    return dict(trial.params), trial.misfit


def planned(run: "Run", space: "Space", examine: "Examine") -> list[tuple[str, dict[str, Any]]]:
    """The configurations of earlier searches that are trained first, with their tags.

    Args:
        run: with its baseline, and with what it takes.
        examine: computes what is known of a configuration before it is trained.
    """
    from search.storage.earlier import TAG

    found: list[tuple[str, dict[str, Any]]] = []
    several = len(run.earlier) > 1
    for earlier in run.earlier:
        feasible = (one for one in earlier.best if not examine(space.decode(one.params)).infeasible)
        best = list(islice(feasible, _AMONG))
        chosen: list[EarlierTrial] = best[:1]
        while len(chosen) < min(NUM_PLANNED, len(best)):
            rest = [one for one in best if one not in chosen]
            chosen.append(max(rest, key=lambda one: min(_apart(one.params, other.params) for other in chosen)))
        found += [(f"{TAG}{earlier.name + '/' if several else ''}{one.number}", one.params) for one in chosen]
    return found


def _apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    """The number of parameters in which two configurations differ."""
    return sum(one.get(name, ()) != other.get(name, ()) for name in {**one, **other})


def check_from_kept(run: "Run", texts: Sequence[str]) -> None:
    """Raise ValueError if a resumed run is given other earlier runs than it was started with."""
    names = [one.name for one in run.earlier]
    if texts and names not in ([Path(text).name for text in texts], [Path(text).resolve().name for text in texts]):
        stored = " ".join(f"--from {name}" for name in names) or "no --from"
        raise ValueError(f"run {run.name!r} began with {stored}, which cannot change; leave --from out")
