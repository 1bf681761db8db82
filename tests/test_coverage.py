"""A small part of `benchmarks/coverage.py`: do the printed intervals of effects hold the truth?"""

import logging
import math

import numpy as np
import optuna
import pytest

from benchmarks.coverage import SingleSeeds, measure, search, tables


@pytest.fixture(autouse=True)
def quiet():
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)
    optuna.logging.set_verbosity(verbosity)


def test_the_printed_intervals_hold_the_true_effect_on_recorded_curves():
    curves, covered = SingleSeeds("digits"), []
    for sampler, seed in (("random", 100), ("random", 101), ("tpe", 102), ("tpe", 103)):
        found = tables(*search(curves, "digits", sampler=sampler, trials=40, seed=seed))
        covered += [one["low"] <= one["truth"] <= one["high"] for one in measure(curves, found, seed=seed)]
    assert len(covered) >= 16
    assert np.mean(covered) >= 0.95 - 3.1 * math.sqrt(0.95 * 0.05 / len(covered))


def test_a_single_seed_differs_from_the_mean_that_is_the_truth():
    curves = SingleSeeds("digits")
    run, trials = search(curves, "digits", sampler="random", trials=3, seed=1)
    first = trials[0]
    assert run.trials == 3
    epoch, value = next(iter(first.intermediate_values.items()))
    assert value != curves.value_at(first.params, epoch)
    assert abs(value - curves.value_at(first.params, epoch)) < 0.3
