"""What is said of single changes of the best configuration that were trained again."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.impact import confirm
from analysis.impact.sentences import verified
from analysis.pages.summary import _verified
from analysis.studies.trials import Trials, read_trials
from tests.synthetic import make_run, make_study


@pytest.fixture(scope="module")
def trials() -> Trials:
    return read_trials(make_study(20, seed=3), make_run())


def confirmed(**changes: list[float]) -> pd.DataFrame:
    """Results of a confirmation on seeds 0, 1, ...: the values of "best" and of each change."""
    rows = [(flip, seed, value) for flip, values in changes.items() for seed, value in enumerate(values)]
    return pd.DataFrame(rows, columns=pd.Index(["flip", "seed", "value"])).assign(epochs=1)


def test_a_change_that_improves_the_best_configuration_is_called_an_improvement(trials):
    results = confirmed(best=[0.90, 0.91, 0.905], dropout=[0.95, 0.958, 0.956], depth=[0.85, 0.858, 0.856])
    better, worse = (verified(row, trials) for row in confirm.paired(results).to_dict("records")[::-1])
    assert better.startswith("dropout: the change is better by 4.97 points [4.")
    assert better.endswith(", 3 paired seeds")
    assert worse.startswith("depth: the best configuration is better by 5.03 points [4.")
    said = [block.lines[0] for block in _verified(replace(trials, full_epochs=1), results)]
    assert [line.split("each, ")[1] for line in said] == [
        "these improve the best configuration, so try them in the search (--try): dropout (4.97 points).",
        "these cost the best configuration the most: depth (5.03 points).",
    ]


def test_a_change_that_fails_on_all_seeds_stays_in_the_results_of_a_confirmation(trials):
    table = confirm.paired(confirmed(best=[0.9, 0.91], a=[0.8, 0.81], b=[np.nan, np.nan]))
    assert table[["flip", "num_seeds", "num_failed"]].values.tolist() == [["a", 2, 0], ["b", 0, 2]]
    said = verified(table.iloc[1].to_dict(), trials)
    assert said == "b: 2 trainings with the change failed, so nothing can be compared"


def test_a_confirmation_whose_best_configuration_fails_compares_nothing(trials):
    table = confirm.paired(confirmed(best=[np.nan, np.nan], a=[0.8, 0.81]))
    said = verified(table.iloc[0].to_dict(), trials)
    assert said == "a: each training of the best configuration failed, so nothing can be compared"
