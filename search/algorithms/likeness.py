"""How alike configurations are, for the Gaussian process of `curves`; kept from one fit to the next."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution

from search.algorithms.encoding import encode

MOST_KEPT = 1000
"""With more configurations than this, only those are kept for the next fit that were compared since the last one. With
twice as many, nothing is kept: a table of all pairs would be too large."""


class Configurations:
    """Configurations of one space, each in a row of its own; how alike two of them are is computed once."""

    def __init__(self, space: Mapping[str, BaseDistribution]) -> None:
        """
        Args:
            space: the range of each parameter.
        """
        self._space = dict(sorted(space.items()))
        self._categorical = [isinstance(d, CategoricalDistribution) for d in self._space.values()]
        self._codes = np.empty((0, len(space)))
        self._known: dict[int, tuple[Mapping[str, Any], int]] = {}
        """The identity of parameters -> these, which keeps the identity theirs, and their row."""
        self._by_codes: dict[bytes, int] = {}
        """Equal configurations share a row."""
        self._tables: dict[float, np.ndarray] = {}
        """Length scale -> likeness of rows; 0 where it is not known, since no two configurations are unlike."""
        self._used: set[int] = set()

    def within(self, space: Mapping[str, BaseDistribution]) -> "Configurations":
        """These configurations for the next fit; new ones, with other rows, if the space differs or there are too
        many."""
        if self._space != space:
            return Configurations(space)
        used, self._used = sorted(self._used), set()
        if len(self._codes) <= MOST_KEPT:
            return self
        if len(used) > MOST_KEPT:
            return Configurations(space)
        fewer = Configurations(space)
        fewer._add(self._codes[used])
        fewer._tables = {length: self._table(length)[np.ix_(used, used)] for length in self._tables}
        return fewer

    def rows(self, params: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """The row of each configuration, (N,).

        Args:
            params: the same object stands for the same values ever after.
        """
        new = {id(given): given for given in params if id(given) not in self._known}
        if new:
            rows = self._add(encode(self._space, list(new.values())))
            self._known |= {key: (new[key], row) for key, row in zip(new, rows, strict=True)}
        found = [self._known[id(given)][1] for given in params]
        self._used.update(found)
        return np.array(found)

    def _add(self, codes: np.ndarray) -> list[int]:
        """The rows of these codes, (N, D)."""
        rows = [self._by_codes.setdefault(code.tobytes(), len(self._by_codes)) for code in codes]
        first = {row: place for place, row in reversed(list(enumerate(rows))) if row >= len(self._codes)}
        self._codes = np.concatenate([self._codes, codes[[first[row] for row in sorted(first)]]])
        return rows

    def likeness(self, a: np.ndarray, b: np.ndarray, *, length: float) -> np.ndarray:
        """The likeness of the configurations in these rows, (N, M), as `likeness` defines it."""
        if len(self._codes) > 2 * MOST_KEPT:
            (rows, places), (columns, others) = (np.unique(one, return_inverse=True) for one in (a, b))
            return self._compute(*np.meshgrid(rows, columns, indexing="ij"), length)[np.ix_(places, others)]
        table = self._table(length)
        found = table[np.ix_(a, b)]
        if found.all():
            return found
        rows, columns = np.unique(a), np.unique(b)
        unknown = np.nonzero(table[np.ix_(rows, columns)] == 0)
        one, other = rows[unknown[0]], columns[unknown[1]]
        table[one, other] = table[other, one] = self._compute(one, other, length)
        return table[np.ix_(a, b)]

    def _compute(self, a: np.ndarray, b: np.ndarray, length: float) -> np.ndarray:
        """The likeness of each pair of rows, in the shape of both."""
        codes = self._codes[a.ravel()], self._codes[b.ravel()]
        return likeness(*codes, self._categorical, length=length).reshape(a.shape)

    def _table(self, length: float) -> np.ndarray:
        """The likeness of all rows; its size leaves room for more."""
        size, known = len(self._codes), self._tables.get(length, np.zeros((0, 0)))
        if len(known) < size:
            self._tables[length] = np.zeros((size + MOST_KEPT // 2, size + MOST_KEPT // 2))
            self._tables[length][: len(known), : len(known)] = known
        return self._tables[length]


def likeness(a: np.ndarray, b: np.ndarray, categorical: Sequence[bool], *, length: float) -> np.ndarray:
    """The likeness m of pairs of configurations with these codes, both (N, D); (N,), 1 for equal ones.

    m(x, x') = (product_j m_j + mean_j m_j) / 2, where m_j is the Matern 5/2 function of the distance in parameter
    j; different choices, and a parameter that only one of them has, are 1 apart.
    """
    product, total = np.ones(len(a)), np.zeros(len(a))
    for one, other, is_choice in zip(a.T.copy(), b.T.copy(), categorical, strict=True):
        apart = np.abs(one - other)
        if is_choice:
            np.minimum(apart, 1, out=apart)
        if np.isnan(apart).any():
            missing = np.isnan(one), np.isnan(other)
            apart = np.where(missing[0] | missing[1], missing[0] != missing[1], apart)
        matern = _matern(apart, length)
        product *= matern
        total += matern
    return (product + total / max(len(categorical), 1)) / 2


def _matern(apart: np.ndarray, length: float) -> np.ndarray:
    """The Matern 5/2 function of a distance r: (1 + s + s^2 / 3) exp(-s), s = sqrt(5) r / length."""
    scaled = np.sqrt(5) / length * apart
    factor = scaled * scaled
    factor /= 3
    factor += 1 + scaled
    found = np.exp(-scaled)
    found *= factor
    return found
