"""A second objective beside the metric of a space: what `--objective` says, and the direction of each."""

from collections.abc import Sequence
from dataclasses import dataclass

from spaces.objectives import METRICS, Direction, Objective
from trainables.data.names import did_you_mean

COSTS = ("weights", "macs")
"""Costs before training that the built-in spaces have; smaller is better."""
LATENCY = "latency"
"""Milliseconds for one row: measured before the first epoch of a built-in network, and reported by each epoch."""
_ENDS: dict[str, Direction] = {"min": "minimize", "max": "maximize"}


@dataclass(frozen=True, kw_only=True)
class Second:
    """An objective that a search has beside the metric of its space."""

    name: str
    """A cost of `Space(costs=...)`, or what each epoch reports."""
    direction: Direction
    known: bool
    """Whether it is known before training."""

    @property
    def objective(self) -> Objective:
        return Objective(metric=self.name, direction=self.direction)

    @property
    def option(self) -> str:
        """As `--objective` takes it."""
        return f"{self.name}:{self.direction[:3]}"


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What one `--objective` says."""

    name: str
    direction: Direction | None
    """None if only the name is stated."""


def read_objectives(texts: Sequence[str]) -> tuple[Stated, ...]:
    """Parse the option.

    Raises:
        ValueError: one of them cannot be read, is named twice, or has another direction than its metric.
    """
    found: dict[str, Stated] = {}
    for text in texts:
        name, colon, end = (part.strip() for part in text.rpartition(":"))
        if end not in _ENDS or not colon:  # a name may contain a colon: pinball:0.9
            name, end = text.strip(), ""
        if not name or name.endswith(":"):
            raise ValueError(f"--objective must be NAME, NAME:min or NAME:max, got {text[:80]!r}")
        if name in found:
            raise ValueError(f"--objective must name each objective once, got {name[:80]!r} twice")
        usual = usual_direction(name)
        if end and usual and _ENDS[end] != usual:
            raise ValueError(f"--objective {name}: the direction is {usual[:3]}, got {end}; leave :{end} out")
        found[name] = Stated(name=name, direction=_ENDS[end] if end else usual)
    return tuple(found.values())


def usual_direction(name: str) -> Direction | None:
    """The direction of a cost or of a known metric; None for what has none of its own."""
    if name in COSTS or name == "seconds":
        return "minimize"
    known = METRICS.get(name.partition(":")[0])
    if known is None or name == "bias":
        return None
    return "minimize" if known.less_is_better else "maximize"


def measures_latency(second: Second | None, *, built_in: bool) -> bool:
    """Whether a search with this second objective measures the latency of its networks."""
    return built_in and second is not None and second.name == LATENCY


def axis_label(name: str, direction: str, unit: str = "") -> str:
    """What an axis of a second objective is called: `latency (ms for one row, smaller is better)`."""
    better = "larger" if direction == "maximize" else "smaller"
    return f"{name} ({unit + ', ' if unit else ''}{better} is better)"


def unit_of(second: Second | None, *, built_in: bool) -> str:
    """The unit of a second objective; empty if it is not known."""
    return "ms for one row" if measures_latency(second, built_in=built_in) else ""


def second_of(
    stated: Sequence[Stated], *, first: Objective, costs: Sequence[str], built_in: bool = False
) -> Second | None:
    """The objective beside the metric of the space; None if the metric alone is stated, or nothing.

    Args:
        first: the metric of the space, which may be stated as well and is then no further objective.
        costs: names of the costs that are known before training.
        built_in: whether built-in networks are trained, whose latency is measured.

    Raises:
        ValueError: there are too many, or the direction of one is not known; the line has the option.
    """
    for one in stated:
        if one.name == first.metric and one.direction not in (None, first.direction):
            raise ValueError(
                f"--objective {one.name}: the space has the direction {first.direction[:3]}; state it without one"
            )
    further = [one for one in stated if one.name != first.metric]
    if not further:
        return None
    if len(further) > 1:
        names = " and ".join(one.name for one in further)
        raise ValueError(f"--objective: one objective beside {first.metric} is possible, got {names}; leave one out")
    (one,) = further
    known, is_measured = one.name in costs, built_in and one.name == LATENCY
    if is_measured and one.direction == "maximize":
        raise ValueError(f"--objective {LATENCY}: the direction is min, got max; leave :max out")
    direction = one.direction or ("minimize" if known or is_measured else None)
    if direction is None:
        names = f" (known before training: {', '.join(costs)}{did_you_mean(one.name, costs)})" if costs else ""
        raise ValueError(f"--objective {one.name[:80]} needs a direction, :min or :max{names}")
    return Second(name=one.name, direction=direction, known=known)
