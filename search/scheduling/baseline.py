"""The baseline of a search: that of its space, reduced if it exceeds the bounds on size."""

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from search.scheduling.constraints import Examine
from search.storage.run import Planned, Run
from spaces.levels import complete
from spaces.objectives import Constraint
from spaces.space import Space

NUM_SCALES = 20
"""Number of sizes that are tried between that of the baseline and the smallest in the space."""

Params = dict[str, Any]
Measure = Callable[[Params], float | None]
"""The share by which a configuration exceeds its bounds, 0 if it may be trained; None if it is not in the space."""


def with_baseline(run: Run, space: Space, examine: Examine) -> Run:
    """The run with its baseline, which keeps to the fixed values and the bounds, and with its plan of first trials.

    The plan is the baseline and, for each level of a question that it does not have, the baseline with that level.
    """
    stated = replace(space, baseline=stated_baseline(run, space))
    baseline = fit_baseline(stated, examine, constraints=run.constraints, held=run.fixed)
    plan = list(baseline_plan(baseline))
    for question in run.questions:
        for level in question.levels:
            held = {**run.fixed, question.parameter: level}
            params = complete(space.suggest, {**stated.baseline, **baseline, **held})
            fitted = fit_baseline(replace(space, baseline=params), examine, constraints=run.constraints, held=held)
            if fitted and fitted != baseline:
                plan.append(Planned(params=fitted, question=question.parameter))
    return replace(run, baseline=baseline, plan=tuple(plan))


def stated_baseline(run: Run, space: Space) -> Params:
    """The baseline of the space with the fixed values of the run."""
    return complete(space.suggest, {**space.baseline, **run.fixed}) if run.fixed else dict(space.baseline)


def fit_baseline(
    space: Space,
    examine: Examine,
    *,
    constraints: Sequence[Constraint],
    held: Container[str] = (),
) -> Params:
    """The baseline of the space, or the largest reduced version of it that keeps to the bounds; empty if none does.

    All parameters that affect the size are reduced together, towards their lowest values: one of few levels, such as a
    depth of 1 or 2, falls to the next only when its share of the way has reached it. Then each is raised again as far
    as the bounds allow. If that is not enough, one that decides which others exist (the number of stages) is first
    reduced by one step. The same space, data and bounds give the same configuration.

    Args:
        constraints: those of the run, which `examine` applies.
        held: parameters that keep their value.
    """

    bounds = {one.cost: one.bound for one in constraints}
    params: Params | None = dict(space.baseline)
    if examine(space.decode(params)).infeasible is None:
        return params

    def measure(params: Params) -> float | None:
        try:
            excess = examine(space.decode(params)).excess
        except ValueError:
            return None
        return sum(max(0.0, over) / (bounds.get(name) or 1) for name, over in excess.items())

    while params is not None:
        previous: list[Params] = []
        for candidate in _scaled(params, space, measure, held):
            if measure(candidate) == 0:
                return _raised(candidate, previous, measure)
            previous.append(candidate)
        params = _simpler(params, space, measure, held)
    return {}


def baseline_plan(baseline: Mapping[str, Any]) -> tuple[Planned, ...]:
    """The plan that consists of the baseline as trial 0; empty if no baseline may be trained."""
    return (Planned(params=dict(baseline), tag="baseline"),) if baseline else ()


def describe_reduction(run: Run, space: Space) -> str | None:
    """How the bounds changed the baseline, in one line; None if it is that of its space, or older than its ranges."""
    stated = stated_baseline(run, space)
    if run.replaced or run.baseline == stated:
        return None
    exceeded = "the baseline exceeds " + " or ".join(f"{one.option} {one.bound:,}" for one in run.constraints)
    if not run.baseline:
        return f"{exceeded}, and so does every reduced version of it; the search starts without a baseline"
    changes = [
        f"{name} {run.baseline[name]} instead of {value}" if name in run.baseline else f"no {name}"
        for name, value in stated.items()
        if run.baseline.get(name) != value or name not in run.baseline
    ]
    return f"{exceeded} and is reduced: {', '.join(changes)}"


def _scaled(params: Params, space: Space, measure: Measure, held: Container[str]) -> Iterator[Params]:
    """The configuration, then ever smaller ones with the same parameters."""
    yield params
    ranges = space.distributions(params)
    lowest = {name: _lowered(params[name], ranges[name], share=0) for name in params}
    excess = measure(params) or 0.0
    sizes = []
    for name, value in lowest.items():
        smaller = {**params, name: value}
        if name not in held and value != params[name] and (over := measure(smaller)) is not None and over < excess:
            sizes.append(name)  # the parameters stay the same, otherwise `decode` refuses
    for i in range(1, NUM_SCALES + 1):
        share = 1 - i / NUM_SCALES
        yield params | {name: _lowered(params[name], ranges[name], share=share) for name in sizes}


def _raised(found: Params, larger: Sequence[Params], measure: Measure) -> Params:
    """The configuration with each value as large as in one of these larger ones, if the bounds allow it."""
    for name in found:
        values = dict.fromkeys(one[name] for one in larger)
        raised = ({**found, name: value} for value in values if value != found[name])
        found = next((one for one in raised if measure(one) == 0), found)
    return found


def _simpler(params: Params, space: Space, measure: Measure, held: Container[str]) -> Params | None:
    """The smallest configuration that has one parameter a step lower and therefore fewer others; None if none has."""
    found: list[tuple[float, Params]] = []
    ranges = space.distributions(params)
    for name, value in params.items():
        below = None if name in held else _next_below(value, ranges[name])
        if below is None:
            continue
        try:
            active = space.distributions({**params, name: below})
        except ValueError:  # it needs parameters that the baseline does not have
            continue
        candidate = {other: {**params, name: below}[other] for other in active}
        over = measure(candidate)
        if over is not None and len(candidate) < len(params):
            found.append((over, candidate))
    return min(found, key=lambda each: each[0], default=(0.0, None))[1]


def _lowered(value: Any, distribution: BaseDistribution, *, share: float) -> Any:
    """The value at this share of the way from the lowest value of a range up to `value`, rounded up to the grid of
    the range; `value` itself if it is no number."""
    if isinstance(distribution, CategoricalDistribution):
        below = _quantities_up_to(value, distribution)
        return below[_steps(share * (len(below) - 1))] if below else value
    if not isinstance(distribution, IntDistribution | FloatDistribution):
        return value
    low, step = distribution.low, distribution.step
    exact = low * (value / low) ** share if distribution.log else low + (value - low) * share
    if step:
        exact = min(low + step * _steps((exact - low) / step), value)
    return int(exact) if isinstance(distribution, IntDistribution) else float(exact)


def _steps(exact: float) -> int:
    return math.ceil(exact - 1e-9)


def _next_below(value: Any, distribution: BaseDistribution) -> Any:
    """The next lower value of a range; None if there is none."""
    if isinstance(distribution, CategoricalDistribution):
        below = _quantities_up_to(value, distribution)[:-1]
        return below[-1] if below else None
    if isinstance(distribution, IntDistribution) and value - distribution.step >= distribution.low:
        return value - distribution.step
    return None


def _quantities_up_to(value: Any, distribution: CategoricalDistribution) -> list[Any]:
    if any(isinstance(c, bool) or not isinstance(c, int | float) for c in distribution.choices):
        return []
    return sorted(choice for choice in distribution.choices if choice <= value)
