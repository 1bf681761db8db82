"""What a search expects of more training, as its study keeps it: the end by --until-gain, and the last estimate."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import optuna

from search.process.text import counted, duration
from search.storage.checking import Range, build
from spaces.objectives import metric_named

VERDICT, OUTLOOK = "rungwise:until-gain", "rungwise:expected-gain"
"""Names of system attributes of the study."""
HOUR_SECONDS = 3600.0
_LEAST_POINTS = 0.01
"""Points below which a gain is not worth a number."""
_Count = Annotated[int, Range(low=0, high=10**12)]
_Amount = Annotated[float, Range(low=0, high=1e300)]


@dataclass(frozen=True, kw_only=True)
class Expected:
    """By how much more training is expected to improve the best value."""

    gain: _Amount
    """In the unit of the metric."""
    epochs: _Count
    """Of the training."""
    seconds: _Amount
    """How long it takes at the pace that the search has; 3600 for an hour."""
    trained: _Count = 0
    """Epochs that the search had trained when it ended; 0 while it runs."""

    def text(self, metric: str, *, past: bool = False) -> str:
        """`Another hour is expected to improve accuracy by about 0.2 points.`"""
        time = "hour" if self.seconds == HOUR_SECONDS else duration(self.seconds)
        begin, verb = ("another", "was") if past else ("Another", "is")
        return f"{begin} {time} of search {verb} expected to improve {metric} by {amount_text(metric, self.gain)}."


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Why --until-gain let a search begin no further trial."""

    gain: _Amount
    below: _Amount
    """The option."""
    epochs: _Count
    """Of the training that was expected to bring the gain."""
    trained: _Count
    """Epochs that the search had trained."""
    trials: _Count
    """The option --trials; with a larger one the rule judges again."""
    ended: _Count = 0
    """Epochs that the search had trained at its end; 0 until then."""
    changes: _Count = 0
    """How often ranges had been replaced; after another change the rule judges again."""

    def text(self, metric: str) -> str:
        """`the next 270 epochs are expected to improve accuracy by ...`"""
        found = amount_text(metric, self.gain)
        return (
            f"after {counted(self.trained, 'epoch')}, the next {counted(self.epochs, 'epoch')} are expected to improve"
            f" {metric} by {found}, less than --until-gain {self.below:g}"
        )


def amount_text(metric: str, gain: float) -> str:
    """`about 0.2 points` for a share such as an accuracy, else `about 0.002`."""
    if not metric_named(metric).share:
        return f"about {_rounded(gain)}"
    points = 100 * gain
    if points < _LEAST_POINTS:
        return f"less than {_LEAST_POINTS} points"
    return "about 1 point" if (shown := _rounded(points)) == "1" else f"about {shown} points"


def _rounded(value: float) -> str:
    return f"{float(f'{value:.1g}'):g}"


def verdict_in(stored: Any) -> Verdict | None:
    """The verdict in this system attribute; None if there is none, or one that this release cannot read."""
    return _built(Verdict, stored)


def expected_in(stored: Any) -> Expected | None:
    """The estimate in this system attribute; None if there is none, or one that this release cannot read."""
    return _built(Expected, stored)


def expectations_of(study: optuna.Study) -> tuple[Verdict | None, Expected | None]:
    """What a study that was opened for reading keeps."""
    attrs = study._storage.get_study_system_attrs(study._study_id)
    return verdict_in(attrs.get(VERDICT)), expected_in(attrs.get(OUTLOOK))


def copy_expected(attrs: Mapping[str, Any], study: optuna.Study) -> None:
    """Store what system attributes say of it in another study."""
    for key in (key for key in (VERDICT, OUTLOOK) if key in attrs):
        study._storage.set_study_system_attr(study._study_id, key, attrs[key])


def content(found: Verdict | Expected) -> dict[str, Any]:
    """As a system attribute."""
    return asdict(found)


def _built(kind: type, stored: Any) -> Any:
    if not isinstance(stored, Mapping):
        return None
    try:
        return build(kind, stored)
    except (ValueError, TypeError):
        return None
