"""The option --prior: from its words to the values of a space that the user expects to be good."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.session.questions import named
from spaces.changes import SURE, Prior, Scalar
from trainables.data.names import split_names

if TYPE_CHECKING:
    from search.storage.run import Run
    from spaces.levels import Parameter
    from spaces.space import Space

_RULE = "NAME=VALUE, NAME=VALUE,VALUE or NAME=LOW..HIGH, such as lr=0.03, lr=0.01..0.1 or optimizer=adamw:sure=0.8"


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What one --prior says, before the space is known."""

    name: str
    text: str
    sure: float
    ends: tuple[str, str] | None = None
    """The ends of a range; None for values."""
    values: tuple[str, ...] = ()


def read_priors(texts: Sequence[str], *, sampler: str) -> tuple[Expectation, ...]:
    """Parse the option.

    Raises:
        ValueError: one of them cannot be read, a parameter is named twice, or the sampler uses no priors.
    """
    if texts and sampler != "curves":
        raise ValueError(f"--prior works with --sampler curves, got {sampler}; leave one of them out")
    found = [_read(text) for text in texts]
    for one in found:
        if sum(other.name == one.name for other in found) > 1:
            raise ValueError(f"--prior must name each parameter once, got {one.name[:80]!r} twice")
    return tuple(found)


def _read(text: str) -> Expectation:
    name, given, spec = (part.strip() for part in text.partition("="))
    spec, stated, share = spec.partition(":sure=")
    if not (name and given and spec.strip()):
        raise ValueError(f"--prior must be {_RULE}, got {text[:80]!r}")
    sure = SURE
    if stated:
        try:
            sure = float(share)
        except ValueError:
            sure = math.nan
        if not 0 < sure < 1:
            raise ValueError(f"--prior {text[:80]}: sure must be above 0 and below 1, got {share[:40] or 'nothing'}")
    low, dots, high = spec.partition("..")
    if dots:
        return Expectation(name=name, text=text, sure=sure, ends=(low.strip(), high.strip()))
    values = tuple(dict.fromkeys(split_names(spec)))
    if not values:
        raise ValueError(f"--prior must be {_RULE}, got {text[:80]!r}")
    return Expectation(name=name, text=text, sure=sure, values=values)


def resolve_priors(
    expectations: Sequence[Expectation], space: "Space", *, fixed: Mapping[str, Scalar], asked: Collection[str] = ()
) -> tuple[Prior, ...]:
    """The priors that these words state.

    Args:
        space: as it is searched.
        fixed: parameters with one value in all trials.
        asked: parameters whose values are compared.

    Raises:
        ValueError: the space has no such parameter or value, or the parameter is not free; the line has the option.
    """
    from spaces.levels import parameters

    if not expectations:
        return ()
    known = parameters(space.suggest, fixed)
    found = []
    for one in expectations:
        for option, names in (("--fix", fixed), ("--question", asked)):
            if one.name in names:
                raise ValueError(f"--prior {one.name}: {option} decides its values; leave one of them out")
        parameter = named(known, one.name, "--prior")
        try:
            found.append(_prior(one, parameter))
        except ValueError as error:
            raise ValueError(f"--prior {one.text[:80]}: {error}") from None
    return tuple(found)


def _prior(one: Expectation, parameter: "Parameter") -> Prior:
    if one.ends is None:
        values = tuple(dict.fromkeys(parameter.parse(text) for text in one.values))
        return Prior(parameter=one.name, values=values, sure=one.sure)
    low, high = (_number(text) for text in one.ends)
    if low >= high:
        raise ValueError(f"the low end comes first, and the ends differ, got {one.ends[0]}..{one.ends[1]}")
    inside = [value for value in getattr(parameter.ranges[0], "choices", ()) if _lies(value, low, high)]
    if inside:
        return Prior(parameter=one.name, values=tuple(inside), sure=one.sure)
    for text in one.ends:
        parameter.parse(text)
    return Prior(parameter=one.name, low=low, high=high, sure=one.sure)


def _lies(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _number(text: str) -> int | float:
    for kind in (int, float):
        try:
            if math.isfinite(value := kind(text)):
                return value
        except ValueError:
            continue
    raise ValueError(f"the ends must be numbers, got {text[:40] or 'nothing'}")


def check_priors_kept(run: "Run", expectations: Sequence[Expectation], space: "Space") -> None:
    """Raise ValueError if a resumed run is given other priors than it was started with."""
    asked = {question.parameter for question in run.questions}
    if expectations and resolve_priors(expectations, space, fixed=run.fixed, asked=asked) != run.priors:
        stored = " ".join(f"--prior {one.option}" for one in run.priors) or "no --prior"
        raise ValueError(f"run {run.name!r} began with {stored}, which cannot change; leave --prior out")
