"""Turns configurations into columns for the regressions: one group of columns for each hyperparameter."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.studies.parameters import Parameter


@dataclass(frozen=True, kw_only=True)
class Group:
    """How one hyperparameter becomes columns: a dummy for each level but the first, or a smooth curve."""

    parameter: Parameter
    levels: tuple
    """Values with dummies (the first has none); empty for a curve."""
    ends: tuple[float, float]
    """Smallest and largest value tried, on the parameter's own scale; the curve's axis is 0 to 1 between them."""
    degree: int
    """Of the curve: a parabola, from 40 trials a cubic, since a hyperparameter mostly has one best region."""
    knots: tuple[float, ...]
    """Where the cubic may bend once more, 0 to 1; from 1,000 trials."""
    means: np.ndarray
    """Of each column over the trials where the hyperparameter is active."""

    def columns(self, values: pd.Series | np.ndarray) -> np.ndarray:
        """Centred columns (N, K); 0 where the hyperparameter is not active."""
        raw = self.raw(values)
        missing = pd.isna(pd.Series(values)).to_numpy()
        return np.where(missing[:, None], 0.0, raw - self.means)

    def raw(self, values: pd.Series | np.ndarray) -> np.ndarray:
        """The same columns, not centred."""
        if self.levels:
            others = self.parameter.scale(np.array(self.levels[1:], dtype=object))
            return (self.parameter.scale(values)[:, None] == others).astype(float)
        low, high = self.ends
        x = (np.nan_to_num(self.parameter.scale(values), nan=low) - low) / (high - low)
        powers = [x**k for k in range(1, self.degree + 1)]
        return np.stack([*powers, *(np.maximum(x - knot, 0) ** 3 for knot in self.knots)], axis=1)


def make_group(parameter: Parameter, values: pd.Series) -> Group | None:
    """The columns for one hyperparameter, or None when it does not vary."""
    active = values[values.notna()]
    x = parameter.scale(active)
    levels: tuple = ()
    if parameter.levels:
        every = parameter.scale(np.array(parameter.levels, dtype=object))
        levels = tuple(level for level, at in zip(parameter.levels, every, strict=True) if at in x)
    if len(np.unique(x)) < 2 or len(levels) == 1:
        return None
    low, high = float(x.min()), float(x.max())
    knots = tuple((np.quantile(x, [1 / 3, 2 / 3]) - low) / (high - low)) if len(x) >= 1000 else ()
    degree = min(3 if len(x) >= 40 else 2, len(np.unique(x)) - 1)
    group = Group(parameter=parameter, levels=levels, ends=(low, high), degree=degree, knots=knots, means=np.zeros(1))
    return replace(group, means=group.raw(active).mean(axis=0))


@dataclass(frozen=True, kw_only=True)
class Design:
    """All hyperparameters as one matrix."""

    matrix: np.ndarray
    """(N, D), each column with mean 0 and spread 1."""
    owner: np.ndarray
    """(D,): the name of the hyperparameter that a column belongs to."""
    groups: dict[str, Group]
    raw: dict[str, np.ndarray]
    """Each group's centred columns in their natural scale."""


def make_design(parameters: tuple[Parameter, ...], params: pd.DataFrame) -> Design:
    """Columns for every hyperparameter that varies, and one more for whether a conditional one is active."""
    groups: dict[str, Group] = {}
    raw: dict[str, np.ndarray] = {}
    blocks: list[np.ndarray] = []
    owner: list[str] = []
    for parameter in parameters:
        values = params[parameter.name]
        group = make_group(parameter, values)
        if group is not None:
            groups[parameter.name] = group
            raw[parameter.name] = group.columns(values)
            blocks.append(raw[parameter.name])
            owner += [parameter.name] * blocks[-1].shape[1]
        if parameter.conditional:
            blocks.append(values.notna().to_numpy(dtype=float)[:, None])
            owner.append(parameter.name)
    matrix = np.concatenate(blocks, axis=1) if blocks else np.zeros((len(params), 0))
    if not len(params):  # no trials: no mean either
        return Design(matrix=matrix[:, :0], owner=np.array([], dtype=object), groups=groups, raw=raw)
    matrix = matrix - matrix.mean(axis=0)
    spread = matrix.std(axis=0)
    keep = spread > 1e-12
    names = np.array(owner, dtype=object)[keep]
    return Design(matrix=matrix[:, keep] / spread[keep], owner=names, groups=groups, raw=raw)
