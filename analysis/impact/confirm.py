"""Verifies effects by training: on/off flips around the best configuration, each paired with it seed by seed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.studies.parameters import Parameter, in_table, label
from analysis.studies.trials import Trials, config_of, params_of

if TYPE_CHECKING:
    from search.runtime.resources import Resources
    from search.storage.run import Planned


@dataclass(frozen=True, kw_only=True)
class Flip:
    """One change of the best configuration."""

    parameter: str
    before: Any
    after: Any
    params: Mapping[str, Any]
    """The whole changed configuration."""
    said: Callable[[Any], str] = label
    """A value as text."""

    @property
    def text(self) -> str:
        """The change in words."""
        return f"{self.parameter}: {self.said(self.before)} to {self.said(self.after)}"


def flips(trials: Trials, fits: Callable[[Mapping[str, Any]], set[str] | None]) -> list[Flip]:
    """Every on/off change, a strength set to zero included, and every neighbouring level around the best configuration.

    Args:
        trials: a study with at least one complete trial.
        fits: the names of the hyperparameters that a configuration with these values needs (a superset is given), or
            None when it is impossible; conditional ones are filled from the nearest trial that has them.
    """
    best = trials.best
    if best is None:
        return []
    config = config_of(best)
    found = []
    for parameter in trials.parameters:
        if parameter.name not in config:
            continue
        value = config[parameter.name]
        for after in _neighbours(parameter, value) if parameter.levels else _off(parameter, value):
            params = _complete(trials, {**config, parameter.name: after}, parameter.name, fits)
            if params is not None:
                before = next((level for level in parameter.levels if level == value), value)
                found.append(_flip(parameter, before, after, params))
    return found


def returns(
    trials: Trials, fits: Callable[[Mapping[str, Any]], set[str] | None], *, baseline: Mapping[str, Any]
) -> list[Flip]:
    """Each hyperparameter of the best configuration set back to the baseline: for spaces without on/off changes.

    Args:
        trials, fits: as for `flips`.
        baseline: of the space.
    """
    best = trials.best
    if best is None:
        return []
    config, found = config_of(best), []
    for parameter in [p for p in trials.parameters if p.name in config and p.name in baseline]:
        name = parameter.name
        if not parameter.same(config[name], baseline[name]):
            params = _complete(trials, {**config, name: baseline[name]}, name, fits)
            if params is not None:
                found.append(_flip(parameter, config[name], baseline[name], params))
    return found


def only(found: Sequence[Flip], names: str | None) -> list[Flip]:
    """The flips of these hyperparameters, or all.

    Args:
        found: flips.
        names: of hyperparameters, separated by commas; None for all.

    Raises:
        ValueError: a name has no flip.
    """
    known = {flip.parameter for flip in found}
    wanted = known if names is None else {name.strip() for name in names.split(",")}
    if not wanted <= known:
        raise ValueError(
            f"--confirm-only takes hyperparameters with an on/off change, here {', '.join(sorted(known))}; got"
            f" {', '.join(sorted(wanted - known))}"
        )
    return [flip for flip in found if flip.parameter in wanted]


def _flip(parameter: Parameter, before: Any, after: Any, params: Mapping[str, Any]) -> Flip:
    return Flip(parameter=parameter.name, before=before, after=after, params=params, said=parameter.text)


def _neighbours(parameter: Parameter, value: Any) -> list[Any]:
    """The other values of a categorical, the next lower and higher of a short integer range."""
    here = parameter.levels.index(value)
    if not parameter.numeric:
        return [v for i, v in enumerate(parameter.levels) if i != here]
    return [parameter.levels[i] for i in (here - 1, here + 1) if 0 <= i < len(parameter.levels)]


def _off(parameter: Parameter, value: Any) -> list[Any]:
    """Zero, for a strength such as dropout that is on and can be off."""
    return [0 if parameter.kind == "integer" else 0.0] if parameter.low == 0 < value else []


def _complete(
    trials: Trials, params: dict[str, Any], changed: str, fits: Callable[[Mapping[str, Any]], set[str] | None]
) -> dict[str, Any] | None:
    """The configuration with what it now lacks, from the nearest trial with the new value, without what it lost."""
    filled = {**_fill(trials, params, changed), **params}
    needed = fits(filled)
    if needed is None:
        return None
    kinds = {p.name: p.kind for p in trials.parameters}
    return {name: int(filled[name]) if kinds[name] == "integer" else filled[name] for name in filled if name in needed}


def _fill(trials: Trials, params: Mapping[str, Any], changed: str) -> dict[str, Any]:
    """A value for every hyperparameter: of the nearest trial with the same value of `changed`, else a middle one."""
    rows = params_of(trials.measured)
    parameter, after = next(p for p in trials.parameters if p.name == changed), in_table(params[changed])
    same = rows[[parameter.same(v, after) for v in rows[changed]]]
    middle = {p.name: _middle(p) for p in trials.parameters}
    if same.empty:
        return middle
    distance = np.zeros(len(same))
    for parameter in trials.parameters:
        if parameter.name in params:
            here = parameter.scale(np.array([params[parameter.name]], dtype=object))[0]
            there = parameter.scale(same[parameter.name])
            known = there[~np.isnan(there)]
            width = known.std() or 1.0 if len(known) else 1.0
            gap = np.abs(there - here) / width if parameter.numeric else (there != here).astype(float)
            distance += np.nan_to_num(gap, nan=1.0)
    return middle | config_of(same.iloc[int(np.argmin(distance))].add_prefix("params_"))


def _middle(parameter: Parameter) -> Any:
    if not parameter.numeric:
        return parameter.choices[0]
    at = (np.log(parameter.low) + np.log(parameter.high)) / 2 if parameter.log else (parameter.low + parameter.high) / 2
    middle = float(np.exp(at)) if parameter.log else at
    return round(middle) if parameter.kind == "integer" else middle


_SAME = 1e-12
"""Share of a value up to which two losses differ by rounding alone."""


def paired(results: pd.DataFrame, *, sign: float = 1.0) -> pd.DataFrame:
    """What each part of the best configuration is worth, by training.

    Args:
        results: flip ("best" for the unchanged configuration, else the change's text), seed, value; NaN for a failure.
        sign: 1 when larger is better.

    Returns:
        flip, worth (the loss by the change, positive when the best configuration is better), low, high (95 %, paired
        t over seeds; NaN where it is not known: of no or one seed, or of seeds with equal losses), num_seeds (with both
        trainings), num_failed (trainings with the change), found: largest worth first.
    """
    wide = results.groupby(["seed", "flip"])["value"].first().unstack()  # also those that failed on every seed
    rows = []
    for flip in [name for name in wide.columns if name != "best"]:
        gaps = sign * (wide["best"] - wide[flip]).dropna().to_numpy()
        half = np.nan
        if len(gaps) > 1 and np.ptp(gaps) > _SAME * np.abs(wide["best"]).max():
            half = float(stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / np.sqrt(len(gaps)))
        worth = float(gaps.mean()) if len(gaps) else np.nan
        row = {"flip": flip, "worth": worth, "low": worth - half, "high": worth + half, "num_seeds": len(gaps)}
        rows.append(row | {"num_failed": int(wide[flip].isna().sum()), "found": bool(abs(worth) > half)})
    columns = ["flip", "worth", "low", "high", "num_seeds", "num_failed", "found"]
    return pd.DataFrame(rows, columns=pd.Index(columns)).sort_values("worth", ascending=False, ignore_index=True)


def read(path: Path) -> pd.DataFrame:
    """The stored results of `train`.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        table = pd.read_csv(path)
        paired(table)
    except (ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is damaged ({reason}); remove it, or train again with --confirm") from None
    return table


def train(
    trials: Trials,
    run: Any,
    run_dir: Path,
    *,
    num_seeds: int,
    epochs: int | None = None,
    names: str | None = None,
) -> pd.DataFrame:
    """Train the best configuration and its flips on fresh seeds, as trials on Ray under run_dir/confirm, resumable.

    Where the space has no on/off changes, its hyperparameters are set back to the baseline one by one.

    Args:
        trials: of the search.
        run: what the search was asked.
        run_dir: its folder.
        num_seeds: of each configuration.
        epochs: of each training, with the schedule over them; the full budget of the search when None.
        names: as for `only`.

    Returns:
        What `paired` takes, and the epochs.
    """
    from search.session.fixed import FixedTraining
    from search.storage.run import data_of
    from search.storage.seeds import confirmation_seeds
    from search.storage.space import space_of

    space = space_of(run)
    changes = only(_changes(trials, space), names)
    plan = _plan(trials.best_config, changes, confirmation_seeds(run.seed, count=num_seeds))
    folder, dataset = run_dir / "confirm", data_of(run, space)
    training = FixedTraining(
        folder=folder, like=run, plan=plan, dataset=dataset, resources=resources_like(run), epochs=epochs
    )
    values = [trial.value if trial.value is not None else np.nan for trial in training.train()]
    rows = {"flip": [p.tag for p in plan], "seed": [p.seed for p in plan], "value": values}
    return pd.DataFrame(rows | {"epochs": epochs or run.epochs})


def _changes(trials: Trials, space: Any) -> list[Flip]:
    """What can be switched off in the best configuration, else what can be set back to the baseline."""
    fits = _fits(space)
    found = flips(trials, fits) or returns(trials, fits, baseline=space.baseline)
    if not found:
        raise ValueError(
            "--confirm has nothing to change: the best configuration is the baseline, and nothing of it can be switched"
            " off; leave --confirm out"
        )
    return found


def _plan(best: dict[str, Any], changes: Sequence[Flip], seeds: Sequence[int]) -> "list[Planned]":
    """Seed by seed the best configuration and each change of it."""
    from search.storage.run import Planned

    named = [("best", best), *((flip.text, dict(flip.params)) for flip in changes)]
    return [Planned(params=params, seed=seed, tag=text) for seed in seeds for text, params in named]


def resources_like(run: Any) -> "Resources":
    """As many trainings at once as fit, on GPUs if the search was and there are any."""
    from search.runtime.resources import count_gpus, plan_resources

    share = run.machine.get("gpus_per_trial") if count_gpus() else None
    share = None if share is None else min(1.0, share)  # each of these trainings has one worker
    return plan_resources(concurrent=None, cpus_per_trial=None, gpus_per_trial=share)


def _fits(space: Any) -> Callable[[Mapping[str, Any]], set[str] | None]:
    """Which of these hyperparameters the space asks for, by replaying its conditions."""
    from optuna.trial import FixedTrial

    def names(params: Mapping[str, Any]) -> set[str] | None:
        trial = FixedTrial(dict(params))
        try:
            space.suggest(trial)
        except ValueError:
            return None
        return set(trial.distributions)

    return names
