"""How numbers of the final evaluation are written: percent for shares, significant digits for the rest."""

import math
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any

from search.process.text import counted
from spaces.objectives import metric_named

_STEERING = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
"""Control characters, overrides of the writing direction, and what UTF-8 or XML cannot hold."""


def named(metric: str, unit: str = "") -> str:
    """The metric in words, with the unit of the target where it has it too: `RMSE ($100k)`."""
    known = metric_named(metric)
    name = known.title or metric.replace("_", " ")
    return f"{name} ({unit})" if unit and (known.in_unit or not known.title) else name


def verdict(metric: str, found: dict[str, float], *, less_is_better: bool | None = None) -> str:
    """What a difference with its interval says: `better`, `worse`, or `no clear difference`, also without an interval.

    Args:
        less_is_better: of the metric; known from its name when None.
    """
    if not excludes_zero(found):
        return "no clear difference"
    less = metric_named(metric).less_is_better if less_is_better is None else less_is_better
    return "better" if (found["value"] < 0) == less else "worse"


def has_interval(found: Mapping[str, float]) -> bool:
    """Whether the interval of a score or a difference is known."""
    return not math.isnan(found["low"])


def excludes_zero(found: Mapping[str, float]) -> bool:
    """Whether the interval of a difference is known and excludes zero."""
    return found["low"] > 0 or found["high"] < 0


def is_share(metric: str) -> bool:
    """Whether the metric lies in 0..1 and is written in percent."""
    return metric_named(metric).share


def number(metric: str, value: float | None) -> str:
    """A value of this metric: `97.3 %` or `0.482`."""
    if value is None or math.isnan(value):
        return "-"
    return f"{100 * value:.2f} %" if is_share(metric) else plain(value)


def between(metric: str, found: dict[str, float]) -> str:
    """A value with its interval: `97.30 % [96.1, 98.2]`, or `97.30 % (no interval)`."""
    return _with_interval(metric, found, unit=" %", sign="")


def held(intervals: dict[str, float], *, target: str, unit: str = "") -> str:
    """What the test rows say of the intervals of the exported network, as a sentence."""
    length = plain(intervals["length"]) + (f" {unit}" if unit else "")
    share, low, high = (f"{100 * intervals[name]:.1f}" for name in ("coverage", "low", "high"))
    of = f"level {intervals['level']:g}, from errors on {intervals['rows']:,} rows held out"
    return (
        f"The intervals of the exported network ({of}) hold {target or 'the target'} in {share} % of the test rows "
        f"[{low}, {high}]; their mean length is {length}."
    )


def ensemble_title(ensemble: dict[str, Any]) -> str:
    """What a row of an ensemble is called."""
    what = "trials of the search" if ensemble.get("of") == "trials" else "networks"
    return f"ensemble of {len(ensemble['members'])} {what}"


def joint(ensemble: dict[str, Any], *, metric: str, unit: str = "") -> str:
    """What the test rows say of the ensemble, as sentences."""
    names = list(dict.fromkeys(title(member["name"]) for member in ensemble["members"]))
    chosen = ensemble.get("chosen_on")
    text = (
        f"An ensemble of {counted(len(ensemble['members']), 'network')} ({', '.join(names)}) reaches a test "
        f"{named(metric, unit)} of {between(metric, ensemble['scores'][metric])}; its difference from the exported "
        f"network is {gap(metric, ensemble['difference'])}.{_beside_tuned(ensemble, metric)}"
    )
    if chosen and ensemble.get("of") == "trials":
        return (
            f"{text} Its members are networks of the search, chosen among {chosen['candidates']} on its validation "
            f"rows. On these {chosen['rows']:,} rows it reached {between(metric, chosen)}: such a value is optimistic."
        )
    if not chosen:
        return f"{text} Its members are all networks of the winner, so nothing was selected."
    return (
        f"{text} On the {chosen['rows']:,} validation rows on which its members were selected it reached "
        f"{between(metric, chosen)}: such a value is optimistic."
    )


def _beside_tuned(ensemble: dict[str, Any], metric: str) -> str:
    """By how much the ensemble differs from methods that were tuned; empty without any."""
    tuned = [one for one in ensemble.get("methods", ()) if one["tuned"]]
    parts = [f"{one['title'].removesuffix(', tuned')} {gap(metric, one)}" for one in tuned]
    return f" Its differences from boosting tuned on the rows of the search: {', '.join(parts)}." if parts else ""


def gap(metric: str, found: dict[str, float]) -> str:
    """A difference with its interval: `+1.20 points [0.3, 2.1]`, or `+1.20 points (no interval)`."""
    return _with_interval(metric, found, unit=" points", sign="+")


def _with_interval(metric: str, found: dict[str, float], *, unit: str, sign: str) -> str:
    shares = [f"{100 * found[key]:{sign}.2f}" for key in ("value", "low", "high")]
    value, low, high = shares if is_share(metric) else _alike(found, sign=sign)
    value += unit * is_share(metric)
    return f"{value} [{low}, {high}]" if has_interval(found) else f"{value} (no interval)"


def _alike(found: dict[str, float], *, sign: str) -> list[str]:
    """Value, low and high with as many decimals as tell three digits of the interval's width."""
    width = found["high"] - found["low"]
    values = [found[key] for key in ("value", "low", "high")]
    if not (math.isfinite(width) and width > 0):
        return [f"{value:{sign}.4g}" for value in values]
    decimals = max(0, 2 - math.floor(math.log10(width)))
    return [f"{round(value, decimals) + 0.0:{sign},.{decimals}f}" for value in values]  # + 0.0: no minus zero


def together_on_front(count: int, second: str) -> str:
    """What joint intervals of a front say, as sentences."""
    these = "Both" if count == 2 else f"All {count}"
    return (
        f"{these} joint intervals hold together with 95 % probability, over test rows and seeds. An interval under "
        f"'Configurations compared' holds with 95 % probability by itself. The front was chosen by validation values, "
        f"which are therefore optimistic; the test values are not, because the test rows took no part in the choice. "
        f"The values of {second} are those of the search."
    )


def p_value(p: float) -> str:
    """`0.03`, or `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def probability(p: float) -> str:
    """`83 %`; never quite certain from a finite number of replicates."""
    return "> 99 %" if p > 0.99 else "< 1 %" if p < 0.01 else f"{100 * p:.0f} %"


def count(value: Any) -> str:
    """`12.3k`, `1.2M`, `88M`; `-` when not known."""
    if not isinstance(value, int | float):
        return "-"
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:g}"


def title(name: str) -> str:
    """A contender in words: `trial 7`, `baseline`, `random configuration`, `trial 7, with flip`."""
    base, _, extra = name.partition("+")
    words = {"baseline": "baseline", "random": "random configuration"}.get(base, base.replace("-", " "))
    return f"{words}, with {extra}" if extra else words


def computing(hours: float, machine: Mapping[str, Any]) -> str:
    """What trials of so many hours together took of a machine: `47 core minutes`, `2.1 core hours`, `4 GPU minutes`."""
    share = machine.get("gpus_per_trial")
    hours, unit = (hours * share, "GPU") if share else (hours, "core")
    if 60 * hours < 1.5:
        return f"{3600 * hours:.0f} {unit} seconds" if 3600 * hours >= 1.5 else f"{3600 * hours:.2g} {unit} seconds"
    return f"{60 * hours:.0f} {unit} minutes" if hours < 1.5 else f"{hours:.1f} {unit} hours"


def spent(seconds: float) -> str:
    """A time: `0.4 s`, `34 s`, `12 min`, `2.5 h`."""
    if not math.isfinite(seconds) or seconds <= 0:
        return "unknown time"
    if seconds < 0.01:
        return "less than 0.01 s"
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 9.5 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def setting(value: Any) -> str:
    """The value of a hyperparameter: `0.0123`, `relu`, `on`; `-` where it is not active."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def plain(value: float, *, digits: int = 4, sign: str = "") -> str:
    """`35,682`, `141.9`, `0.8462`, `3.1e+38`.

    Args:
        value: the number.
        digits: significant ones of a number below 1,000.
        sign: `+` to write it for positive numbers too.
    """
    return f"{value:{sign},.0f}" if 1000 <= abs(value) < 1e15 else f"{value:{sign}.{digits}g}"


def together(values: Iterable[float], *, digits: int = 4) -> list[str]:
    """Numbers of one scale, each with as many digits as tell them apart: `20240101` and `20240128`.

    Args:
        values: they are written alike.
        digits: significant ones where so many are enough.
    """
    values = [float(value) for value in values]
    known = [value for value in values if math.isfinite(value)]
    largest, span = max(map(abs, known), default=0.0), max(known, default=0.0) - min(known, default=0.0)
    if 0 < largest < 1e15:  # whole numbers are written out: 1700000000 and not 1.7e+09
        digits = max(digits, _places(largest) + 1)
    if 0 < span < math.inf:
        digits = max(digits, min(17, _places(largest) - _places(span) + 3))
    return [f"{value:.{digits}g}" for value in values]


def percent(share: float) -> str:
    """A share with two digits: `0.12 %`, `3.4 %`, `100 %`."""
    return f"{100 * share:.2g} %" if share < 0.0995 else f"{100 * share:.0f} %"


def _places(value: float) -> int:
    """The decimal place of the first digit: 3 of 4,200 and -2 of 0.042."""
    return math.floor(math.log10(value))


def shortened(name: str, limit: int) -> str:
    """A name that fits beside an axis: in one line, and at most as wide as `limit` Latin letters."""
    name = one_line(name)
    if len(name) <= limit and name.isascii():
        return name
    ends = list(accumulate(map(_width, name)))
    if not ends or ends[-1] <= limit:
        return name
    return name[: bisect_right(ends, limit - 1)] + "…"


def _width(character: str) -> int:
    """Columns that a character takes: two for Chinese and emoji, none for an accent that follows its letter."""
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def one_line(text: str) -> str:
    """A name or value in one line, in which characters that steer a terminal or the order of a text are written out.

    >>> print(one_line("a\\nb"))
    a\\x0ab
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or _harmless(c) else f"\\x{ord(c):02x}" for c in text)


def _harmless(character: str) -> bool:
    """Blanks of other widths, and the joiners that emoji and some scripts need inside a word."""
    return character in "\u200c\u200d" or unicodedata.category(character) == "Zs"


def escaped(document: str) -> str:
    """A whole document with its lines as they are, in which such characters are written out."""
    return _STEERING.sub(lambda found: f"\\x{ord(found[0]):02x}", document)


def feature_names(features: list[str]) -> str:
    """`Latitude`, `Latitude + Longitude`, or of a larger group two and the number of the others."""
    shown = " + ".join(shortened(name, 18 if len(features) > 1 else 30) for name in features[:2])
    return shown if len(features) <= 2 else f"{shown} + {len(features) - 2} more"


def test_rows(conditions: Mapping[str, Any]) -> str:
    """`1,250 test rows`, or `78 test rows in 8 groups`; empty where their number is not known."""
    rows, groups = conditions.get("test_rows"), conditions.get("test_groups")
    if not rows:
        return ""
    return counted(rows, "test row") + (f" in {counted(groups, 'group')}" if groups else "")


def trained_for(conditions: Mapping[str, Any]) -> str:
    """`17 epochs of a schedule over 54`, or `54 epochs`: the winner's, from the conditions of final.json."""
    epochs = conditions["epochs"]
    whole = conditions.get("schedule_epochs", epochs)
    said = f"{epochs:,} epoch" if epochs == 1 else f"{epochs:,} epochs"
    return said if whole == epochs else f"{said} of a schedule over {whole:,}"


def trained_on(held_out: int) -> str:
    """Which rows of the search the contenders are trained on."""
    return f"without the {held_out:,} validation rows" if held_out else "training and validation"
