"""What the interactive figures of the report show: the trials of a study in one block of JSON.

The scripts in `analysis/templates` draw it. It holds what the still figures and the tables hold, so both show the same
numbers, colours and axes. It is bounded: of a large study it has the best complete trials and an even selection of the
others.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.colors import to_hex

from analysis.pages.page import Picture, Section
from analysis.pages.search import MOST_SMALL
from analysis.plots import style
from analysis.plots.cost import COSTS, is_log_cost, pareto
from analysis.plots.search import MOST_AXES, color_range, epoch_label, history, kept_point, slices
from analysis.studies.parameters import Parameter
from analysis.studies.rows import COMPLETE, STATES
from analysis.studies.trials import Trials

_COLORS = 24
_COST_FIGURES = {"pareto_weights": "weights", "pareto_seconds": "seconds"}
_WORDS = {"stopped": "stopped early"}


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What the block holds at most."""

    trials: int = 3_000
    bytes: int = 900_000
    """Of the trials, about."""
    points: int = 30_000
    """Of the learning curves; with more, a curve has its values at the rungs and the last epoch."""


def trials_block(trials: Trials, section: Section, *, names: Sequence[str], bounds: Bounds = Bounds()) -> Markup | None:
    """The block as JSON that can stand in a page; None where no trial has a value.

    Args:
        trials: of the study.
        section: that on the search, with the still figures.
        names: hyperparameters, those that matter most first.
        bounds: of a page that still opens at once.
    """
    rows = trials.trials[np.isfinite(trials.trials["last"].to_numpy(dtype=float))]
    if rows.empty:
        return None
    thin = len(trials.epochs) > bounds.points
    kept = _kept(rows, trials, bounds, thin=thin)
    block = {
        "trials": kept,
        "measured": len(rows),
        "thinCurves": thin,
        "titles": {block.name: block.alt for block in section.blocks if isinstance(block, Picture)},
        "parameters": [_parameter(one) for one in trials.parameters],
        "parallel": list(names)[:MOST_AXES],
        "slices": list(names)[:MOST_SMALL],
        **_axes(trials, names[:MOST_SMALL]),
    }
    text = json.dumps(block, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _kept(rows: pd.DataFrame, trials: Trials, bounds: Bounds, *, thin: bool) -> list[list[Any]]:
    """One row for each trial that fits, in the order of their numbers.

    All complete ones as far as they fit, the best first, and an even selection of the others.
    """
    done = rows[rows["state"] == COMPLETE].sort_values("value", ascending=trials.sign < 0, kind="stable")
    rest = rows[rows["state"] != COMPLETE]
    encode = _encoder(rows, trials, thin=thin)
    sample = [encode(int(n)) for n in rows.index[:: max(1, len(rows) // 50)]]
    size = max(1.0, float(np.mean([len(json.dumps(row)) for row in sample])))
    most = max(1, min(bounds.trials, int(bounds.bytes / size)))
    done = done.head(max(most - len(rest), most * 2 // 3))
    if len(rest) > most - len(done):
        rest = rest.iloc[np.linspace(0, len(rest) - 1, most - len(done)).astype(int)]
    return [encode(int(n)) for n in sorted([*done.index, *rest.index])]


def _encoder(rows: pd.DataFrame, trials: Trials, *, thin: bool) -> Callable[[int], list[Any]]:
    """Encodes a trial by its number: number, state, value, epochs, seconds, weights, curve, and each hyperparameter."""
    curves = {int(str(n)): np.asarray(at) for n, at in trials.epochs.groupby("trial").indices.items()}
    epochs, values = trials.epochs["epoch"].to_numpy(dtype=int), trials.epochs["value"].to_numpy(dtype=float)
    columns = [_column(one, rows[f"params_{one.name}"]) for one in trials.parameters]
    place = {int(n): at for at, n in enumerate(rows.index)}
    facts = rows[["last", "epochs", "seconds", "weights"]].to_numpy(dtype=float)
    states = [STATES.index(state) for state in rows["state"]]

    def encode(number: int) -> list[Any]:
        at = place[number]
        last, trained, seconds, weights = facts[at]
        here = curves.get(number, np.array([], dtype=int))
        if thin and len(here):
            keep = np.isin(epochs[here], trials.rungs)
            keep[-1] = True
            here = np.compress(keep, here)
        curve = _curve(epochs[here], values[here])
        known = [_number(last), int(trained), _number(seconds), _number(weights)]
        return [number, states[at], *known, curve, *(column[at] for column in columns)]

    return encode


def _curve(epochs: np.ndarray, values: np.ndarray) -> list[Any]:
    """The values alone where there is one after every epoch; else epochs and values."""
    short = [float(f"{value:.5g}") for value in values]
    return short if (epochs == np.arange(1, len(epochs) + 1)).all() else [epochs.tolist(), short]


def _column(parameter: Parameter, values: pd.Series) -> list[Any]:
    """Numbers, or positions among the choices; None where the hyperparameter is not active."""
    if not parameter.numeric:
        return [None if math.isnan(at) else int(at) for at in parameter.scale(values)]
    found = [_number(value) for value in pd.to_numeric(values).to_numpy(dtype=float)]
    return [None if x is None else int(x) for x in found] if parameter.kind == "integer" else found


def _number(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)


def _parameter(parameter: Parameter) -> dict[str, Any]:
    known = {"name": parameter.name, "conditional": parameter.conditional}
    if not parameter.numeric:
        choices = [one if _is_json(one) else str(one) for one in parameter.choices]
        return {**known, "choices": choices, "labels": [parameter.text(one) for one in parameter.choices]}
    low, high = (_number(float(end)) for end in (parameter.low, parameter.high))
    shown = {"low": low, "high": high, "log": parameter.log, "levels": bool(parameter.levels)}
    return {**known, **shown, "integer": parameter.kind == "integer"}


def _is_json(value: Any) -> bool:
    return value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value))


def _axes(trials: Trials, panels: Sequence[str]) -> dict[str, Any]:
    """Axes, lines and colours, as the still figures have them."""
    drawn = history(trials)
    done = trials.complete["value"].dropna()
    low, high = color_range(done.to_numpy(dtype=float), sign=trials.sign) if len(done) else (0.0, 1.0)
    shades = mpl.colormaps["viridis" if trials.sign > 0 else "viridis_r"](np.linspace(0, 1, _COLORS))
    fronts = {name: pareto(trials, cost) for name, cost in _COST_FIGURES.items()}
    values = {"history": drawn["value"], "learning_curves": trials.epochs["value"]}
    values |= {name: front["value"] for name, front in fronts.items()}
    values |= {f"slice {name}": slices(trials, name)["value"] for name in panels}
    return {
        "metric": style.metric_label(trials),
        "sign": trials.sign,
        "full": trials.full_epochs,
        "rungs": list(trials.rungs),
        "logEpochs": len(trials.rungs) > 1,
        "epochLabel": epoch_label(trials),
        "best": None if trials.best is None else int(trials.best["number"]),
        "states": [
            {"words": _WORDS.get(one, one), "name": one}
            | {"color": style.COLORS.get(one, style.GREY), "mark": style.MARKERS.get(one, "o")}
            for one in STATES
        ],
        "colors": [to_hex(shade) for shade in shades],
        "colorRange": [low, high],
        "values": {name: _range(name, some, sign=trials.sign) for name, some in values.items()},
        "lines": _lines(drawn, fronts) | _kept_mark(trials),
        "costs": {name: COSTS[cost] for name, cost in _COST_FIGURES.items()},
        "logCosts": {name: is_log_cost(front) for name, front in fronts.items()},
    }


def _range(figure: str, values: pd.Series, *, sign: float) -> dict[str, Any]:
    found = style.value_range(values, sign=sign, of="value" if figure == "learning_curves" else "trial")
    low, high = found.ends or (None, None)
    return {"low": low, "high": high, "log": found.log, "note": found.note}


def _lines(drawn: pd.DataFrame, fronts: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """The best value so far, and the Pareto fronts: corners, colour and meaning."""
    known = drawn[drawn["best"].notna()]
    steps = known[known["best"].diff() != 0]
    lines: dict[str, Any] = {}
    if len(steps):
        points = [[int(n), float(v)] for n, v in zip(steps["trial"], steps["best"], strict=True)]
        best = {"points": points, "toEnd": int(drawn["trial"].max()), "color": "var(--ink)"}
        lines["history"] = {**best, "text": "best complete so far"}
    for name, front in fronts.items():
        edge = front[front["front"]]
        if len(edge):
            points = [[float(c), float(v)] for c, v in zip(edge["cost"], edge["value"], strict=True)]
            lines[name] = {"points": points, "dots": True, "color": style.VERMILION, "text": "Pareto front"}
    return lines


def _kept_mark(trials: Trials) -> dict[str, Any]:
    """The epoch that the best trial keeps, as a point of its curve."""
    point = kept_point(trials)
    if point is None:
        return {}
    text = f"epoch {point[0]}, which the best trial keeps"
    return {"learning_curves": {"points": [list(point)], "dots": True, "color": "var(--ink)", "text": text}}
