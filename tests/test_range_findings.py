"""What the review says of ranges: values of grids, the best trials at an edge, and bounds that refuse a part."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from analysis.pages.review import review_section
from analysis.prose.ranges import edges, unexplored
from analysis.prose.review import review
from analysis.studies.parameters import Parameter
from analysis.studies.trials import Trials, read_trials
from tests.ledgers import make_run
from tests.searching import ROOT

GRID = FloatDistribution(0.0, 0.3, step=0.05)


def study(
    distributions: dict[str, BaseDistribution],
    drawn: Sequence[dict[str, Any]],
    values: Sequence[float] = (),
    *,
    refused: Sequence[dict[str, Any]] = (),
) -> Trials:
    """Complete trials with these hyperparameters and values, and configurations that exceeded a bound."""
    found = optuna.create_study(direction="maximize")
    for params, value in zip(drawn, values or np.linspace(0.5, 0.6, len(drawn)), strict=True):
        found.add_trial(create_trial(params=params, distributions=distributions, value=float(value)))
    for params in refused:
        attrs = {"infeasible": "macs exceeds its bound by 1,028,416", "macs": 12_028_416}
        state = TrialState.PRUNED
        found.add_trial(create_trial(state=state, params=params, distributions=distributions, user_attrs=attrs))
    return read_trials(found)


def untried(distribution: BaseDistribution, values: Sequence[float]) -> list[str]:
    trials = study({"x": distribution}, [{"x": value} for value in values])
    return [finding.sentence for finding in unexplored(trials, trials.parameters)]


@pytest.mark.parametrize(
    ("distribution", "tried", "said"),
    [
        (FloatDistribution(0.0, 0.2, step=0.05), [0.0, 0.05, 0.1, 0.15, 0.2], []),
        (IntDistribution(8, 32, step=8), [8, 16, 24, 32], []),
        (GRID, [0.0, 0.05, 0.1, 0.15, 0.25, 0.3], ["x = 0.2 was never tried in 96 trials."]),
        (GRID, [0.0, 0.1, 0.15, 0.2, 0.3], ["x = 0.05 and 0.25 were never tried in 80 trials."]),
        (IntDistribution(1, 4), [1, 2, 4], ["x = 3 was never tried in 48 trials."]),
    ],
)
def test_of_a_grid_the_values_that_were_not_tried_are_listed(
    distribution: BaseDistribution, tried: list[float], said: list[str]
):
    assert untried(distribution, tried * 16) == said


def test_of_a_fine_grid_only_a_long_run_of_values_is_listed():
    fine = FloatDistribution(0.0, 1.0, step=0.05)
    assert untried(fine, [value for k, value in enumerate(np.linspace(0, 1, 21)) if k % 2 == 0] * 5) == []
    (said,) = untried(fine, [k / 20 for k in range(11)] * 6)
    assert said.startswith("x = 0.55, 0.6, 0.65, ")
    assert said.endswith(" and 1 were never tried in 66 trials.")


def test_the_grid_of_a_range_has_its_ends_and_no_rounding_errors():
    grid = Parameter(name="x", kind="real", low=0.0, high=0.3, step=0.05).grid
    assert grid == (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
    assert Parameter(name="x", kind="integer", low=2, high=5).grid == (2, 3, 4, 5)
    assert Parameter(name="x", kind="integer", low=2, high=500).grid == ()
    assert Parameter(name="x", kind="integer", low=2, high=5, log=True).grid == ()
    assert Parameter(name="x", kind="real", low=0.0, high=1.0).grid == ()
    assert Parameter(name="x", kind="categorical", choices=(1, 2)).grid == ()


def at_edge(distribution: BaseDistribution, best: Sequence[float], others: Sequence[float], **options: Any) -> str:
    """What is said of the best trials, which have the values `best`, and of the others."""
    drawn = [{"x": value} for value in (*others, *best)]
    trials = study({"x": distribution}, drawn)
    return " ".join(finding.text for finding in edges(trials, trials.parameters, **options))


DROPOUT = FloatDistribution(0.0, 0.5, step=0.05)


def test_best_trials_near_zero_do_not_show_that_the_hyperparameter_is_useless():
    others = [0.1] * 14 + [0.05] * 2 + [0.3] * 6
    said = at_edge(DROPOUT, [0.1, 0.1, 0.05, 0.1, 0.1], others)
    assert said == (
        "All 5 best trials have x <= 0.1, at the lower end of the range 0 to 0.5, as do 78 % of all trials, which "
        "shows mainly where the search looked. This does not show that x is useless. To test it: --question x=0,0.1."
    )


def test_only_where_most_of_the_best_trials_use_zero_it_can_be_left_out():
    said = at_edge(DROPOUT, [0.0, 0.0, 0.05, 0.0, 0.0], [0.3] * 15 + [0.1] * 10)
    assert said == (
        "All 5 best trials have x <= 0.05, at the lower end of the range 0 to 0.5, as do 17 % of all trials. "
        "4 of them use 0: leave it out with --fix x=0."
    )


def test_the_edge_of_a_grid_is_as_likely_as_its_values():
    coarse = FloatDistribution(0.0, 0.5, step=0.1)  # 0 and 0.1 are a third of the values
    assert at_edge(coarse, [0.1, 0.0, 0.1, 0.1, 0.3], [0.3] * 25) == ""
    said = at_edge(coarse, [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], [0.3] * 36)
    assert said.startswith("All 7 best trials have x = 0.5, at the upper end of the range 0 to 0.5, as do 16 % of")


def test_a_range_that_cannot_grow_says_so():
    said = at_edge(FloatDistribution(0.05, 0.5, step=0.05), [0.05] * 6 + [0.1], [0.3] * 36)
    assert said.endswith(" The space allows no smaller value.")


def wide(number: int, *, low: float, high: float) -> list[dict[str, Any]]:
    return [{"x": round(low + (high - low) * k / number)} for k in range(number)]


WIDTH = IntDistribution(16, 192, log=True)
BOUND = {"macs": "--max-macs 11M"}


def costed(drawn: Sequence[dict[str, Any]], refused: Sequence[dict[str, Any]]) -> Trials:
    """The study with 60,000 multiply-adds per unit of width."""
    trials = study({"x": WIDTH}, drawn, refused=refused)
    return replace(trials, trials=trials.trials.assign(macs=60_000.0 * trials.trials["params_x"]))


def test_a_wider_range_that_a_bound_refuses_names_the_bound():
    trials = costed(wide(30, low=16, high=60) + wide(6, low=150, high=190), wide(4, low=184, high=192))
    (found,) = review(trials, resume="rungwise search --resume", bounds=BOUND)
    assert found.parameter == "x"
    assert found.advice == (
        "Search a wider range: --set x=16..670:log, also with --resume. Larger values also need a higher bound than "
        "--max-macs 11M: "
        "4 configurations were too large for it."
    )
    unbounded = review(costed(wide(30, low=16, high=60) + wide(6, low=150, high=190), []), resume="x", bounds=BOUND)
    assert unbounded[0].advice == "Search a wider range: --set x=16..670:log, also with --resume."
    cheap = replace(trials, trials=trials.trials.assign(macs=1.0))
    assert "bound" not in review(cheap, resume="x", bounds=BOUND)[0].advice


def test_a_part_of_a_range_that_a_bound_refused_is_not_called_untried_by_chance():
    trials = costed(wide(40, low=16, high=60), wide(12, low=100, high=190))
    (found,) = unexplored(trials, trials.parameters, bounds=BOUND)
    assert found.text == (
        "No trial had x between 59 and 192, 47 % of its range: the 12 configurations drawn there exceeded --max-macs "
        "11M. Such values need a higher bound, or a configuration that is smaller elsewhere (--try)."
    )
    (free,) = unexplored(trials, trials.parameters)
    assert free.text.endswith(
        "47 % of its range. If the best value may lie there, try it with --try, or narrow the range."
    )


def test_values_of_a_grid_that_a_bound_refused_name_the_bound():
    drawn = [{"x": value} for value in [1, 2, 3] * 20]
    trials = study({"x": IntDistribution(1, 4)}, drawn, refused=[{"x": 4}, {"x": 1}])
    (found,) = unexplored(trials, trials.parameters, bounds=BOUND)
    assert found.text == (
        "x = 4 was never tried in 60 trials: the configuration drawn there exceeded --max-macs 11M. Such values need a "
        "higher bound, or a configuration that is smaller elsewhere (--try)."
    )
    (free,) = unexplored(trials, trials.parameters)
    assert free.sentence == "x = 4 was never tried in 60 trials."


def test_a_hyperparameter_has_one_finding_and_no_contradicting_advice():
    drawn = [{"x": value} for value in [0.3] * 30 + [0.1] * 24 + [0.0] * 10]
    trials = study({"x": GRID}, drawn)
    assert [finding.kind for finding in unexplored(trials, trials.parameters)] == ["unexplored"]
    assert [(finding.kind, finding.parameter) for finding in review(trials, resume="x")] == [("edge", "x")]


def test_the_report_gives_the_review_the_bounds_of_the_run():
    trials = costed(wide(40, low=16, high=60), wide(12, low=100, high=190))
    section = review_section(trials, make_run(max_macs=11_000_000), ROOT / "runs" / "x")
    assert "exceeded --max-macs 11M" in str(section.blocks)
