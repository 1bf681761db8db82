"""The path from the baseline to the best configuration: which change brought how much, by the surrogate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.impact.forest import Surrogate, bag_interval
from analysis.studies.parameters import in_table, texts


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """A greedy path: at each step the change with the best predicted objective (Biedenkapp et al. 2017)."""

    steps: pd.DataFrame
    """change, gain, low, high, value: one row per change, in the order of the path; the first row is the start,
    without gain. A positive gain is better, for a metric that should be small too; the value is predicted."""
    budget: int


def ablation(
    surrogate: Surrogate, start: Mapping[str, Any], target: Mapping[str, Any], *, sign: float = 1.0
) -> Ablation:
    """The path from `start` to `target`; hyperparameters that come and go with another one move with it.

    Intervals (95 %) are those of the surrogate along the path that the whole forest chose.
    """
    moves = _moves(surrogate, start, target)
    current = dict(start)
    values = surrogate.predict(_frame(surrogate, [current]))[..., 0]
    rows = [_row("baseline", values, values, sign=sign, first=True)]
    while moves:
        options = [_moved(current, names, target) for names in moves]
        predicted = surrogate.predict(_frame(surrogate, options))
        chosen = int(np.argmax(predicted.mean(axis=(0, 1)) * sign))
        text = _text(moves[chosen], current, target)
        rows.append(_row(text, values, predicted[..., chosen], sign=sign))
        current, values = options[chosen], predicted[..., chosen]
        del moves[chosen]
    return Ablation(steps=pd.DataFrame(rows), budget=surrogate.budget)


def _moves(surrogate: Surrogate, start: Mapping[str, Any], target: Mapping[str, Any]) -> list[list[str]]:
    """Groups of hyperparameters that differ: one each, with its children that exist on one side only."""
    known = [p for p in surrogate.parameters if p.name in start or p.name in target]
    one_sided = {p.name for p in known if (p.name in start) != (p.name in target)}
    differ = [p.name for p in known if p.name in one_sided or not p.same(start[p.name], target[p.name])]
    moves, taken = [], set()
    for name in differ:
        if name in one_sided and any(name in surrogate.children[parent] for parent in differ if parent != name):
            continue
        group = [name, *(kid for kid in differ if kid in surrogate.children[name] & one_sided and kid not in taken)]
        taken.update(group)
        moves.append(group)
    return moves


def _moved(config: Mapping[str, Any], names: list[str], target: Mapping[str, Any]) -> dict[str, Any]:
    changed = {name: value for name, value in config.items() if name not in names}
    return changed | {name: target[name] for name in names if name in target}


def _text(names: list[str], current: Mapping[str, Any], target: Mapping[str, Any]) -> str:
    name = names[0]
    said = texts([config[name] for config in (current, target) if name in config])
    change = f"{name}: {said(current.get(name, 'off'))} to {said(target.get(name, 'off'))}"
    if len(names) == 1:
        return change
    joined = "with" if names[1] in target else "without"
    return f"{change} ({joined} {', '.join(names[1:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''})"


def _frame(surrogate: Surrogate, configs: list[dict[str, Any]]) -> pd.DataFrame:
    names = [p.name for p in surrogate.parameters]
    rows = [{name: in_table(value) for name, value in config.items()} for config in configs]
    frame = pd.DataFrame(rows, columns=pd.Index(names))
    for parameter in surrogate.parameters:
        if parameter.numeric:
            frame[parameter.name] = pd.to_numeric(frame[parameter.name])
    return frame


def _row(change: str, before: np.ndarray, after: np.ndarray, *, sign: float, first: bool = False) -> dict[str, Any]:
    gain, low, high = (float(number) for number in bag_interval(sign * (after - before)))
    return {
        "change": change,
        "gain": np.nan if first else gain,
        "low": np.nan if first else low,
        "high": np.nan if first else high,
        "value": float(after.mean()),
    }
