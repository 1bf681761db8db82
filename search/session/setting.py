"""The option --set: from its words to ranges of a space."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spaces.changes import Range
from trainables.data.names import did_you_mean, split_names

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from spaces.levels import Parameter
    from spaces.space import Space

_RULE = "NAME=LOW..HIGH or NAME=VALUE,VALUE, such as lr=1e-4..1e-2:log or optimizer=sgd,adamw"
_MOST_NAMED = 12
_MOST_CHOICES = 1000


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What one --set says, before the space is known."""

    name: str
    text: str
    ends: tuple[str, str] | None = None
    """The ends of a range; None for a list."""
    scale: str = ""
    """`log`, `linear`, or empty for that of the space."""
    step: str = ""
    values: tuple[str, ...] = ()


def read_set(texts: Sequence[str]) -> tuple[Wish, ...]:
    """Parse the option.

    Raises:
        ValueError: one of them cannot be read, or a parameter is set twice; the line has the rule.
    """
    wishes = [_read(text) for text in texts]
    for wish in wishes:
        if sum(other.name == wish.name for other in wishes) > 1:
            raise ValueError(f"--set must name each parameter once, got {wish.name[:80]!r} twice")
    return tuple(wishes)


def _read(text: str) -> Wish:
    name, given, spec = (part.strip() for part in text.partition("="))
    if not (name and given and spec):
        raise ValueError(f"--set must be {_RULE}, got {text[:80]!r}")
    found = re.fullmatch(r"(?P<low>[^:]*?)\.\.(?P<high>[^:]*?)(?P<rest>(:[^:]*)*)", spec)
    if found is None:
        values = tuple(dict.fromkeys(split_names(spec)))
        if len(values) == 1 and "," not in spec:
            raise ValueError(f"--set {text[:80]}: one value for all trials is --fix {name}={spec[:80]}")
        if len(values) < 2:
            raise ValueError(f"--set must be {_RULE}, got {text[:80]!r}")
        if len(values) > _MOST_CHOICES:
            raise ValueError(f"--set {name}: at most {_MOST_CHOICES} values can be listed, got {len(values)}")
        return Wish(name=name, text=text, values=values)
    scale = step = ""
    for word in filter(None, found["rest"].split(":")):
        key, _, value = (part.strip() for part in word.partition("="))
        if key in ("log", "linear") and not value and not scale:
            scale = key
        elif key == "step" and value and not step:
            step = value
        else:
            raise ValueError(f"--set {text[:80]}: after a range come :log, :linear or :step=NUMBER, got {word[:40]!r}")
    return Wish(name=name, text=text, ends=(found["low"].strip(), found["high"].strip()), scale=scale, step=step)


def resolve_set(wishes: Sequence[Wish], space: "Space") -> tuple[Range, ...]:
    """The ranges that these words ask for.

    A range may make parameters possible that the space did not have before, such as the width of a further layer; these
    can be set as well.

    Raises:
        ValueError: the space has no such parameter, or it cannot have these values; the line has the option.
    """
    from spaces.levels import parameters
    from spaces.ranges import change

    ranges: dict[str, Range] = {}
    waiting = list(wishes)
    while waiting:
        known = parameters(change(space, tuple(ranges.values())).suggest)
        now = [wish for wish in waiting if wish.name in known]
        if not now:
            names = ", ".join([*known][:_MOST_NAMED]) + ", ..." * (len(known) > _MOST_NAMED)
            name = waiting[0].name
            raise ValueError(
                f"--set {name[:80]}: the space has no such parameter{did_you_mean(name, known)}; it has {names}"
            )
        for wish in now:
            try:
                ranges[wish.name] = _range(wish, known[wish.name])
            except ValueError as error:
                raise ValueError(f"--set {wish.text[:80]}: {error}") from None
        waiting = [wish for wish in waiting if wish.name not in ranges]
    _check_used(ranges, space)
    return tuple(ranges[wish.name] for wish in wishes)


def _check_used(ranges: dict[str, Range], space: "Space") -> None:
    from spaces.levels import parameters
    from spaces.ranges import change

    if not ranges:
        return
    try:
        known = parameters(change(space, tuple(ranges.values())).suggest)
    except Exception as error:  # of the space's own code
        shown = " ".join(f"--set {one.option}" for one in ranges.values())
        raise ValueError(f"{shown}: the space fails with these ranges: {error}") from error
    for name, one in ranges.items():
        if name not in known:
            raise ValueError(f"--set {one.option}: no configuration has {name} with the other ranges; leave it out")


def _range(wish: Wish, parameter: "Parameter") -> Range:
    from optuna.distributions import CategoricalDistribution

    first = parameter.ranges[0]
    if isinstance(first, CategoricalDistribution):
        return _choices(wish, parameter, first.choices)
    return _listed(wish, first) if wish.ends is None else _ranged(wish, first)


def _choices(wish: Wish, parameter: "Parameter", stated: Sequence[Any]) -> Range:
    """A list in place of the choices of a space; only numbers may be new, since a text would mean nothing to it."""
    from spaces.asking import describe
    from spaces.levels import read_number, readings

    if wish.ends is not None:
        raise ValueError(f"{wish.name} has choices, {describe(parameter.ranges[0])}; list some: {wish.name}=A,B")
    numbers = all(isinstance(choice, int | float) and not isinstance(choice, bool) for choice in stated)
    kind = int if all(isinstance(choice, int) for choice in stated) else float
    found = []
    for text in wish.values:
        known = readings(text, parameter.ranges[0])
        if not known and not numbers:
            raise ValueError(f"{wish.name} must be some of {describe(parameter.ranges[0])}, got {text[:80]}")
        found.append(known[0] if known else read_number(text, kind))
    return Range(parameter=wish.name, kind="categorical", choices=tuple(dict.fromkeys(found)))


def _listed(wish: Wish, stated: "BaseDistribution") -> Range:
    from spaces.levels import read_number

    kind = _kind(stated)
    values = sorted(dict.fromkeys(read_number(text, kind) for text in wish.values))
    if len(values) < 2:
        raise ValueError(f"the values are equal; one value for all trials is --fix {wish.name}={values[0]}")
    return Range(parameter=wish.name, kind="categorical", choices=tuple(values))


def _ranged(wish: Wish, stated: Any) -> Range:
    from spaces.levels import read_number

    kind = _kind(stated)
    assert wish.ends is not None
    low, high = (read_number(text, kind) for text in wish.ends)
    if low == high:
        raise ValueError(f"the ends are equal; one value for all trials is --fix {wish.name}={low}")
    if low > high:
        raise ValueError(f"the low end comes first: {wish.name}={wish.ends[1]}..{wish.ends[0]}")
    log = wish.scale == "log" if wish.scale else stated.log and not wish.step
    step = read_number(wish.step, kind) if wish.step else None if log else stated.step
    step = None if kind is int and step == 1 else step
    if log and step is not None:
        raise ValueError(":log and :step cannot be combined; leave one of them out")
    if log and low <= 0:
        also = "" if wish.scale else f"; for a linear one: {wish.text}:linear"
        raise ValueError(f"a logarithmic range must begin above 0, got {low}{also}")
    if step is not None and (step <= 0 or abs((high - low) / step - round((high - low) / step)) > 1e-8):
        given = "" if wish.step else ", as in the space"
        raise ValueError(f"{high} must be a number of steps of {step:g} above {low}{given}; change it, or the :step=")
    return Range(parameter=wish.name, kind=kind.__name__, low=low, high=high, log=log, step=step)  # type: ignore[arg-type]


def _kind(stated: "BaseDistribution") -> type:
    from optuna.distributions import IntDistribution

    return int if isinstance(stated, IntDistribution) else float
