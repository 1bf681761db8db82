"""Figures: the data on the artists."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection

from analysis import plots
from analysis.impact.impact import study_impact
from analysis.plots import style
from analysis.plots.cost import pareto, timeline, utilisation
from analysis.plots.search import parallel
from analysis.studies.trials import Trials, read_trials
from tests.synthetic import make_run, make_study


@pytest.fixture(scope="module")
def trials() -> Trials:
    return read_trials(make_study(70, seed=6, failures=2, running=2), make_run())


@pytest.fixture(scope="module")
def impact(trials):
    return study_impact(trials)


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def offsets(ax, word: str) -> np.ndarray:
    found = [c for c in ax.collections if isinstance(c, PathCollection) and str(c.get_label()).startswith(word)]
    return np.concatenate([np.asarray(c.get_offsets()) for c in found])


def test_history_shows_each_trial_once_and_best_never_falls_or_counts_a_stopped_one(trials):
    ax = plots.plot_history(trials)
    shown = offsets(ax, "complete")
    np.testing.assert_allclose(shown[:, 1], trials.complete["value"])
    assert len(offsets(ax, "stopped")) == (trials.measured["state"] == "stopped").sum()
    best = ax.lines[0].get_ydata()
    assert (np.diff(best) >= 0).all()
    assert best[-1] == trials.complete["value"].max()


def test_a_loss_that_spans_orders_of_magnitude_is_drawn_on_a_logarithmic_axis():
    values = np.geomspace(1e-5, 1, 12)
    for sign, drawn, scale in (
        (-1.0, values, "log"), (1.0, values, "linear"), (-1.0, values - 0.5, "linear"), (-1.0, values + 1, "linear"),
        (-1.0, np.r_[np.full(11, 1e-5), 1.0], "linear"), (-1.0, np.r_[values, np.nan], "log"),
    ):  # fmt: skip
        _, ax = plt.subplots()
        ax.plot(drawn)
        style.value_axis(ax, drawn, sign=sign)
        assert ax.get_yscale() == scale
        assert not any("$" in text.get_text() for text in ax.get_yticklabels())
        plt.close("all")


def test_curves_hold_every_reported_value_and_the_best_one_is_thick(trials):
    ax = plots.plot_learning_curves(trials)
    points = sum(len(p.vertices) for c in ax.collections if isinstance(c, LineCollection) for p in c.get_paths())
    assert points == len(trials.epochs)
    np.testing.assert_allclose(ax.lines[0].get_ydata()[-1], trials.complete["value"].max())
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "3", "9", "27"]


def test_survival_bars_are_the_counts(trials, impact):
    ax = plots.plot_rung_survival(impact.audit.survival)
    heights = [p.get_height() for p in ax.patches[:4]]
    assert heights == impact.audit.survival["reached"].to_list()


def test_importance_bars_stand_in_order_with_their_names(impact):
    last = impact.importances[-1]
    ax = plots.plot_importance(last)
    np.testing.assert_allclose([p.get_width() for p in ax.patches], last.above_noise["importance"][::-1])
    assert [t.get_text() for t in ax.get_yticklabels()] == last.above_noise["parameter"][::-1].to_list()


def test_a_log_parameter_lies_on_a_log_axis_and_the_curve_is_the_effect(trials, impact):
    effect = next(e for e in impact.early if e.parameter == "lr")
    ax = plots.plot_effect(effect, trials)
    assert ax.get_xscale() == "log"
    assert ax.get_xlabel() == "lr"
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), 100 * effect.curve["effect"])


def test_slices_keep_states_apart(trials):
    ax = plots.plot_slice(trials, "batch_norm")
    assert len(offsets(ax, "complete")) == len(trials.complete)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["True", "False"]


def test_a_distrusted_surrogate_is_not_drawn(trials):
    ax = plots.plot_partial_dependence(None, "lr", trials)
    assert not ax.lines
    assert "too few" in ax.texts[0].get_text()


def test_the_front_is_what_no_other_trial_beats():
    trials = read_trials(make_study(50, seed=8, stop=False), make_run())
    table = pareto(trials, "weights")
    for row in table.to_dict("records"):
        beaten = ((table["cost"] <= row["cost"]) & (table["value"] > row["value"])) | (
            (table["cost"] < row["cost"]) & (table["value"] >= row["value"])
        )
        assert row["front"] == (not beaten.any())


def test_parallel_puts_the_best_on_top_and_inactive_below(trials):
    table = parallel(trials)
    assert table.index[-1] == trials.best["number"]
    inactive = trials.trials.loc[table.index, "params_width_3"].isna()
    assert (table.loc[inactive, "width_3"] < 0).all()
    assert len(plots.plot_parallel(trials).get_xticklabels()) == len(trials.parameters)


def test_utilisation_is_busy_time_over_all_time():
    table = pd.DataFrame({"worker": ["a", "b"], "start": [0.0, 0.0], "seconds": [10.0, 5.0]})
    assert utilisation(table) == 0.75


def test_the_timeline_has_a_block_for_every_epoch(trials):
    ax = plots.plot_timeline(trials)
    assert sum(len(c.get_paths()) for c in ax.collections) == len(timeline(trials)) == len(trials.epochs)


@pytest.mark.parametrize("count", [0, 1, 2, 12])
def test_every_figure_says_so_when_there_is_too_little_to_draw(count):
    few = read_trials(make_study(count), make_run())
    found = study_impact(few)
    axes = [
        plots.plot_history(few),
        plots.plot_learning_curves(few),
        plots.plot_rung_survival(found.audit.survival),
        plots.plot_importance(None),
        plots.plot_importance_by_rung(found.importances),
        plots.plot_interactions(found.interactions, few),
        plots.plot_ablation(found.ablation, few),
        plots.plot_budget_correlation(found.audit.correlations),
        plots.plot_parallel(few),
        plots.plot_pareto(few, "macs"),
        plots.plot_timeline(few),
    ]
    assert all(ax.has_data() or ax.texts for ax in axes)
    for ax in axes:
        ax.figure.draw_without_rendering()


def test_figures_take_the_axes_they_are_given(trials):
    _, ax = plt.subplots()
    assert plots.plot_history(trials, ax) is ax
    assert plots.plot_parallel(trials, ax) is ax
