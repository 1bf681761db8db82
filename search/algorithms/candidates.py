"""New configurations, drawn from the space itself; and samplers that give chosen values."""

import math
import random
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from spaces.asking import AskedTrial, Suggest, contains
from spaces.finite import all_configurations
from spaces.levels import place_of, value_at
from spaces.priors import Priors

NUM_ANYWHERE = 50
"""New configurations that are drawn from the whole space."""
NUM_PARENTS, NUM_NEAR, NUM_MOVED = 5, 10, 20
"""Most promising trials; new configurations that differ from each of them in one or two parameters; and those that are
moved a little along the ranges of about half of the parameters."""
TRIALS_A_DRAW = 5
"""For this many trials in a row the candidates near a parent, and those from anywhere, stay the same but for those that
were tried: drawing them is slow. Not all are drawn before the same trial."""
_STEPS = 0.01, 0.2
"""Least and greatest standard deviation of a move, as a share of the range."""
_LAST = 20
"""Configurations of a space that are so few that they are begun before paused trials of little promise continue."""
NUM_STRATA = 10
"""Parts into which the first trials divide the range of each parameter."""
NO_PRIORS = Priors()
_COIN = "\0"
"""Stands for a name where the chance is drawn with which a configuration follows the priors."""
Identity = frozenset[tuple[str, Any]]


def identity(params: Mapping[str, Any]) -> Identity:
    """A key that is equal for equal configurations; floats are equal up to rounding, as on a grid."""
    return frozenset((name, _rounded(value)) for name, value in params.items())


def _rounded(value: Any) -> Any:
    return float(f"{value:.12g}") if isinstance(value, float) else value


def agrees(params: Mapping[str, Any], held: Mapping[str, Any]) -> bool:
    """Whether the parameters have the held values, as far as they have these parameters at all."""
    return identity({name: params[name] for name in held if name in params}) <= identity(held)


class Candidates:
    """Draws new configurations from the space; the same parents give the same ones again."""

    def __init__(self, suggest: Suggest, *, seed: int, priors: Priors = NO_PRIORS, num_moved: int = NUM_MOVED) -> None:
        """
        Args:
            suggest: that of the space.
            seed: decides the draws.
            priors: which values are drawn more often.
            num_moved: configurations that are moved a little from each parent.
        """
        self._suggest, self._seed, self._priors, self._num_moved = suggest, seed, priors, num_moved
        self._drawn: dict[tuple[int, int, Identity], dict[Identity, dict[str, Any]]] = {}
        """By turn, parent and held values."""

    def new(
        self, parents: Sequence[FrozenTrial], *, number: int, tried: Container[Identity], held: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Parameters from anywhere and near the parents; empty if the space has nothing new, or fails.

        Args:
            number: of the next trial.
            tried: configurations that are not new.
            held: parameters whose values are given. A parent with other values is itself a candidate, with these
                values.
        """
        self._drawn = {key: drawn for key, drawn in self._drawn.items() if key[0] >= number // TRIALS_A_DRAW}
        drawn = dict(self._draw(number, -1, {}, held))
        for parent in parents:
            drawn |= self._draw(number, parent.number, parent.params, held)
        return [params for key, params in drawn.items() if key not in tried]

    def _draw(
        self, number: int, parent: int, near: Mapping[str, Any], held: Mapping[str, Any]
    ) -> dict[Identity, dict[str, Any]]:
        turn = (number + parent % TRIALS_A_DRAW) // TRIALS_A_DRAW
        key = turn, parent, identity(held)
        if key not in self._drawn:
            generator = random.Random(f"{self._seed}/{turn}/{parent}")
            count, num_moved = (NUM_NEAR, self._num_moved) if near else (NUM_ANYWHERE, 0)
            varied = [_vary(self._suggest, near, generator, held, self._priors) for _ in range(count)]
            varied += [_move(self._suggest, near, generator, held, self._priors) for _ in range(num_moved)]
            if held and near:
                varied.append(_draw(self._suggest, {**near, **held}, lambda _: generator.random(), self._priors))
            self._drawn[key] = {identity(params): params for params in varied if params}
        return self._drawn[key]


class Listed:
    """The configurations of a space that has few of them; they are listed when they are first asked for."""

    def __init__(self) -> None:
        self._known: list[tuple[Identity, dict[str, Any]]] | None = None
        self._is_known = False

    def left(
        self, suggest: Suggest, *, tried: Container[Identity], held: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]] | None:
        """Those that are not tried and have the held values; None if the space has many, or fails."""
        if not self._is_known:
            found = all_configurations(suggest)
            self._known = None if found is None else [(identity(params), params) for params in found]
            self._is_known = True
        if self._known is None:
            return None
        return [params for key, params in self._known if key not in tried and (not held or agrees(params, held))]

    def are_last(self, suggest: Suggest, *, tried: Container[Identity]) -> bool:
        """Whether the space has so few configurations left that a short training of each costs little."""
        left = self.left(suggest, tried=tried)
        return left is not None and len(left) <= _LAST


def first(
    suggest: Suggest, priors: Priors, tried: Container[Identity], listed: Listed, *,
    number: int, seed: int, trial_seed: int, held: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """As `spread`, without a configuration that is tried already where the priors or few values would repeat it.

    Args:
        tried: configurations that are not new.
        listed: those of this space.
    """
    found: dict[str, Any] = {}
    for weights in (priors, NO_PRIORS):
        found = spread(suggest, number=number, seed=seed, trial_seed=trial_seed, held=held, priors=weights)
        if identity(found) not in tried:
            return found
    left = listed.left(suggest, tried=tried, held=held)
    return random.Random(trial_seed).choice(left) if left else found


def spread(
    suggest: Suggest,
    *,
    number: int,
    seed: int,
    trial_seed: int,
    held: Mapping[str, Any] | None = None,
    priors: Priors = NO_PRIORS,
) -> dict[str, Any]:
    """The parameters of one of the first trials, which are spread over the space; empty if the space fails.

    Each of ten trials in a row takes another tenth of the range of every parameter: a Latin hypercube, also for a space
    with conditional parameters.

    Args:
        suggest: that of the space.
        number: number of the trial.
        seed: seed of the run, which decides the order of the tenths.
        trial_seed: seed of the trial, which decides the place within a tenth.
        held: parameters whose values are given.
        priors: which values are drawn more often.
    """
    round_number, turn = divmod(number, NUM_STRATA)

    def fraction(name: str) -> float:
        strata = list(range(NUM_STRATA))
        random.Random(f"{seed}/{round_number}/{name}").shuffle(strata)
        return (strata[turn] + random.Random(f"{trial_seed}/{name}").random()) / NUM_STRATA

    return _draw(suggest, held or {}, fraction, priors)


class Chosen(RandomSampler):
    """Gives the values that were chosen before; other parameters are random."""

    def __init__(self, params: Mapping[str, Any], *, seed: int) -> None:
        super().__init__(seed=seed)
        self._params = params

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        if param_name in self._params:
            return self._params[param_name]
        return super().sample_independent(study, trial, param_name, param_distribution)


class Held(BaseSampler):
    """Gives some parameters a fixed value and leaves the others to another sampler."""

    def __init__(self, sampler: BaseSampler, params: Mapping[str, Any]) -> None:
        self._sampler, self._params = sampler, params

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        space = self._sampler.infer_relative_search_space(study, trial)
        return {name: distribution for name, distribution in space.items() if name not in self._params}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        found = self._sampler.sample_relative(study, trial, search_space)
        return {name: value for name, value in found.items() if name not in self._params}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        if param_name in self._params:
            return self._params[param_name]
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._sampler.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._sampler.after_trial(study, trial, state, values)


class _Draw(AskedTrial):
    """Answers with known values; draws those that are missing or do not fit their range."""

    def __init__(
        self,
        params: Mapping[str, Any],
        fraction: Callable[[str], float],
        priors: Priors,
        moves: Mapping[str, float] | None = None,
    ) -> None:
        """
        Args:
            params: the known values.
            fraction: draws the place of a value in its range, by name.
            moves: how far known values are moved, as shares of their ranges; a choice is drawn again.
        """
        super().__init__()
        self._known, self._moves = dict(params), dict(moves or {})
        self._fraction, self._priors = fraction, priors
        self._coin = fraction(_COIN) if priors else 0.0

    def answer(self, name: str, distribution: BaseDistribution) -> Any:
        if name not in self._known or not contains(distribution, self._known[name]):
            self._known[name] = self._priors.value(name, distribution, self._fraction(name), self._coin)
        elif name in self._moves:
            self._known[name] = self._moved(name, distribution, self._moves.pop(name))
        return self._known[name]

    def _moved(self, name: str, distribution: BaseDistribution, move: float) -> Any:
        if isinstance(distribution, FloatDistribution | IntDistribution):
            return moved(distribution, self._known[name], move)
        return self._priors.value(name, distribution, self._fraction(name), self._coin)


def moved(distribution: FloatDistribution | IntDistribution, value: float, move: float) -> Any:
    """The value that lies so far above this one, as a share of the range; as far below it where the range ends."""
    place = place_of(distribution, value)
    there = place + move if 0 <= place + move <= 1 else place - move
    found = value_at(distribution, min(max(there, 0.0), math.nextafter(1.0, 0.0)))
    is_same = distribution.step is not None and not distribution.log and abs(found - value) < distribution.step / 2
    return value if is_same else found  # a rounding error would make it a new configuration


def _draw(
    suggest: Suggest,
    params: Mapping[str, Any],
    fraction: Callable[[str], float],
    priors: Priors,
    moves: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    trial = _Draw(params, fraction, priors, moves)
    try:
        suggest(trial)
    except Exception:  # an error of the space is reported when the trial itself is sampled
        return {}
    return dict(trial.params)


def _vary(
    suggest: Suggest, near: Mapping[str, Any], generator: random.Random, held: Mapping[str, Any], priors: Priors
) -> dict[str, Any]:
    """The parameters `near` with one or two of them drawn again, the held ones excepted; all drawn if `near` is
    empty."""
    open_names = sorted(name for name in near if name not in held)
    redrawn = generator.sample(open_names, min(len(open_names), generator.randint(1, 2)))
    kept = {name: value for name, value in near.items() if name not in redrawn}
    return _draw(suggest, {**kept, **held}, lambda _: generator.random(), priors)


def _move(
    suggest: Suggest, near: Mapping[str, Any], generator: random.Random, held: Mapping[str, Any], priors: Priors
) -> dict[str, Any]:
    """The parameters `near`, about half of them moved along their ranges, the held ones excepted."""
    open_names = sorted(name for name in near if name not in held)
    low, high = _STEPS
    spread = low * (high / low) ** generator.random()
    chosen = [name for name in open_names if generator.random() < 0.5]
    moves = {name: generator.gauss(0, spread) for name in chosen or open_names[:1]}
    return _draw(suggest, {**near, **held}, lambda _: generator.random(), priors, moves)
