"""How alike configurations are, kept from one fit to the next."""

import math
import random

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from search.algorithms import likeness
from search.algorithms.likeness import Configurations

SPACE: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-4, 1, log=True),
    "kind": CategoricalDistribution(["a", "b", "c"]),
    "depth": IntDistribution(1, 5),
    "momentum": FloatDistribution(0, 1),
}


def draw(count: int) -> list[dict[str, object]]:
    """Configurations; only those of kind b have a momentum."""
    generator = random.Random(0)
    found: list[dict[str, object]] = []
    for _ in range(count):
        kind = generator.choice("abc")
        params = {"rate": 10 ** generator.uniform(-4, 0), "kind": kind, "depth": generator.randint(1, 5)}
        found.append({**params, "momentum": generator.random()} if kind == "b" else params)
    return found


def expected(one: dict[str, object], other: dict[str, object], length: float) -> float:
    """The definition, for a single pair."""
    known = []
    for name, distribution in SPACE.items():
        if name not in one or name not in other:
            apart = float((name in one) != (name in other))
        elif isinstance(distribution, CategoricalDistribution):
            apart = float(one[name] != other[name])
        elif name == "rate":
            apart = abs(math.log10(one[name]) - math.log10(other[name])) / 4  # type: ignore[arg-type]
        else:
            apart = abs(one[name] - other[name]) / (4 if name == "depth" else 1)  # type: ignore[operator]
        scaled = math.sqrt(5) * apart / length
        known.append((1 + scaled + scaled**2 / 3) * math.exp(-scaled))
    return (math.prod(known) + sum(known) / len(known)) / 2


@pytest.mark.parametrize("length", [0.5, 2.0])
def test_pairs_are_as_alike_as_defined_in_whatever_order_they_are_asked_for(length: float):
    params = draw(30)
    table = np.array([[expected(one, other, length) for other in params] for one in params])
    known = Configurations(SPACE)
    rows = known.rows(params)
    for asked in (slice(0, 7), slice(3, 20), slice(None)):
        found = known.likeness(rows[asked], rows, length=length)
        assert found == pytest.approx(table[asked], rel=1e-12)
    assert np.array_equal(found, found.T)
    assert np.array_equal(known.likeness(rows, rows[[4, 4, 1]], length=length), found[:, [4, 4, 1]])


def test_equal_configurations_share_a_row():
    params = draw(5)
    known = Configurations(SPACE)
    rows = known.rows([*params, dict(reversed(params[2].items())), params[0]])
    assert rows.tolist() == [0, 1, 2, 3, 4, 2, 0]
    assert known.rows([dict(params[3])]).tolist() == [3]


def test_a_pair_is_computed_once_even_if_those_that_were_not_used_have_been_dropped(monkeypatch: pytest.MonkeyPatch):
    computed: list[int] = []
    real = likeness.likeness

    def counted(a: np.ndarray, *rest: object, **more: object) -> np.ndarray:
        computed.append(len(a))
        return real(a, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(likeness, "likeness", counted)
    params = draw(30)
    known = Configurations(SPACE)
    rows = known.rows(params)
    found = known.likeness(rows, rows, length=1.0)
    assert computed == [900]
    assert known.within(dict(reversed(SPACE.items()))) is known
    known.rows(params[:12])
    monkeypatch.setattr(likeness, "MOST_KEPT", 20)
    fewer = known.within(SPACE)
    assert fewer is not known
    rows = fewer.rows(params[:12])
    assert np.array_equal(fewer.likeness(rows, rows, length=1.0), found[:12, :12])
    rows = fewer.rows(params[10:14])
    assert np.array_equal(fewer.likeness(rows, rows, length=1.0), found[10:14, 10:14])
    assert computed == [900, 12], "the last two are compared with each other and with two that are kept"


def test_of_too_many_configurations_no_pair_is_kept(monkeypatch: pytest.MonkeyPatch):
    params = draw(30)
    plain = Configurations(SPACE)
    rows = plain.rows(params)
    found = plain.likeness(rows, rows, length=1.0)
    monkeypatch.setattr(likeness, "MOST_KEPT", 14)
    known = Configurations(SPACE)
    rows = known.rows(params)
    asked = rows[[3, 3, 0, 7]]
    assert np.array_equal(known.likeness(asked, rows, length=1.0), found[[3, 3, 0, 7]])
    assert not known._tables
    assert not len(known.within(SPACE)._codes)


def test_another_space_begins_anew():
    known = Configurations(SPACE)
    known.rows(draw(5))
    wider = known.within({**SPACE, "depth": IntDistribution(1, 9)})
    assert wider is not known
    one, other = wider.rows([{"depth": 1}, {"depth": 9}])
    assert wider.likeness(np.array([one]), np.array([other]), length=1.0)[0, 0] < 1
