"""Numbers about hyperparameters, on studies whose effects are known."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.datasets.images import overview
from analysis.impact import confirm, stopping
from analysis.impact.ablation import ablation
from analysis.impact.effects import early_effects, full_effects
from analysis.impact.forest import bag_interval, fit_shuffled, fit_surrogate
from analysis.impact.impact import confidence, fenced, study_impact
from analysis.impact.importance import fanova, ped_anova
from analysis.impact.interactions import interactions
from analysis.statistics.design import make_design
from analysis.statistics.projection import make_projector
from analysis.studies.amounts import difference_texts
from analysis.studies.parameters import label
from analysis.studies.trials import Trials, config_of, params_of, read_trials
from tests.synthetic import DISTRIBUTIONS, NULL, Effects, make_run, make_study
from trainables.sources import load as data

TRUE = Effects()


def known(name: str, value: object, epoch: int) -> float:
    """The true effect of a value at an epoch, up to a constant."""
    late = 1 - math.log(epoch) / math.log(27)
    if name == "augmentation":
        return TRUE.crop * (1 - 2 * late) * (value == "crop")
    if name == "lr":
        return -TRUE.lr * (math.log10(float(str(value))) + 2) ** 2
    if name == "width_0":
        return TRUE.width * math.log2(float(str(value)))
    sizes = {"batch_norm": TRUE.batch_norm, "depth": TRUE.depth, "momentum": TRUE.momentum}
    return sizes[name] * float(value) if name in sizes else 0.0  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def big() -> Trials:
    return read_trials(make_study(600, seed=3, failures=5, running=2), make_run())


def test_intervals_cover_the_truth_at_their_nominal_rate_and_nulls_are_no_effect():
    hits, bands, found = [], [], []
    for seed in range(50):
        trials = read_trials(make_study(64, seed=seed), make_run())
        for effect in early_effects(trials, bootstraps=60, seed=seed):
            if effect.curve is None:
                continue
            if effect.parameter == "batch_norm":
                hits.append(effect.low <= TRUE.batch_norm <= effect.high)
            if effect.parameter in NULL:
                found.append(effect.found)
            tried = trials.measured[f"params_{effect.parameter}"].dropna()
            centre = np.mean([known(effect.parameter, v, effect.budget) for v in tried])
            truth = np.array([known(effect.parameter, v, effect.budget) for v in effect.curve["x"]]) - centre
            bands.append(float(((effect.curve["low"] <= truth) & (truth <= effect.curve["high"])).mean()))
    # 3.1 standard errors of a binomial share: one false alarm in a thousand each
    assert np.mean(hits) >= 0.95 - 3.1 * math.sqrt(0.95 * 0.05 / len(hits))
    assert np.mean(bands) >= 0.95 - 3.1 * np.std(bands) / math.sqrt(
        len(bands) / 12
    )  # a study's twelve bands go together
    assert np.mean(bands) <= 0.995, "bands that always cover are too wide to be of use"
    assert np.mean(found) <= 0.05 + 3.1 * math.sqrt(0.05 * 0.95 / len(found))


def test_effects_are_found_with_conditional_parameters_and_stopping(big):
    found = {e.parameter: e for e in early_effects(big)}
    assert {"lr", "batch_norm", "depth"} <= {name for name, e in found.items() if e.found}
    assert found["batch_norm"].low <= TRUE.batch_norm <= found["batch_norm"].high
    assert (found["depth"].better, found["depth"].worse) == ("4", "2")
    assert found["depth"].low <= 2 * TRUE.depth <= found["depth"].high
    assert found["momentum"].num_trials < 400, "a conditional parameter is judged where it is active"
    for name in NULL:
        assert not found[name].found
        assert "no effect found" in found[name].sentence


def test_a_few_trials_that_learnt_nothing_do_not_hide_the_effects_on_an_error_without_bound():
    trials = read_trials(make_study(100, seed=4), make_run())
    table = trials.trials.copy()
    rungs = [f"rung_{rung}" for rung in trials.rungs]
    table[rungs] = 1 - table[rungs]
    worst = table.index[[5, 6, 7]]
    table.loc[worst, rungs[0]] = 50.0
    errors = replace(trials, trials=table, metric="rmse", direction="minimize")

    def found(trials: Trials) -> bool:
        return next(e for e in early_effects(trials) if e.parameter == "batch_norm").found

    assert not found(errors)
    assert found(fenced(errors))
    inside = table[rungs[0]].drop(worst)
    assert fenced(errors).trials.loc[worst, rungs[0]].max() < inside.max() + np.ptp(inside)
    assert fenced(trials) is trials  # an accuracy has a worst value


def test_a_sentence_states_effect_interval_budget_and_trials(big):
    told = {e.parameter: e for e in early_effects(big)}["batch_norm"]
    size, low, high = difference_texts(big, [told.estimate, told.low, told.high])
    assert float(size) == pytest.approx(100 * told.estimate, abs=0.05)
    assert told.sentence.startswith(f"batch_norm: on is better than off by {size} points [{low}, {high}] ")
    assert told.sentence.endswith("after 1 epoch, from 600 trials")


def test_effects_at_the_full_budget_come_from_trials_that_were_trained_to_the_end_alone(big):
    whole = read_trials(make_study(120, seed=3, stop=False), make_run())
    full = {e.parameter: e for e in full_effects(whole)}
    assert {e.budget for e in full.values()} == {27}
    assert full["batch_norm"].num_trials == len(whole.complete)
    assert full["batch_norm"].low <= TRUE.batch_norm <= full["batch_norm"].high
    assert full["batch_norm"].sentence.endswith("after 27 epochs, from 120 trials trained to the end")
    assert all(e.budget < 27 for e in early_effects(big))
    stopped = big.trials["state"] != "complete"
    worse = big.trials.assign(rung_9=big.trials["rung_9"].where(~stopped, 0.0))
    assert [e.sentence for e in full_effects(replace(big, trials=worse))] == [e.sentence for e in full_effects(big)]
    few = read_trials(make_study(20, seed=1), make_run())
    assert all("not enough data" in e.sentence for e in full_effects(few))
    assert early_effects(replace(few, rungs=(27,))) == []


def test_an_effect_that_the_best_trials_contradict_says_so(big):
    told = {e.parameter: e for e in early_effects(big)}
    assert not told["lr"].opposed
    assert not told["batch_norm"].opposed
    top = (big.complete["value"]).nlargest(5).index
    flipped = big.trials.copy()
    flipped.loc[top, "params_batch_norm"] = False
    flipped.loc[top, "params_lr"] = 1e-4
    told = {e.parameter: e for e in early_effects(replace(big, trials=flipped))}
    assert told["batch_norm"].opposed == "all 5 best trials use False"
    assert told["batch_norm"].sentence.endswith("; but all 5 best trials use False")
    assert told["lr"].opposed.startswith("all 5 best trials are nearer to")
    assert not told["dropout"].opposed


def test_importance_ranks_the_parameters_right_and_null_ones_stay_in_the_noise(big):
    at_full_budget = ped_anova(big, bootstraps=8)[-1]
    assert at_full_budget.projected
    assert at_full_budget.num_trials == 600
    ranked = at_full_budget.table["parameter"].to_list()
    assert ranked[0] == "lr"
    assert set(ranked[:4]) >= {"lr", "batch_norm", "depth"}
    table = at_full_budget.table.set_index("parameter")
    assert (table.loc[["lr", "batch_norm"], "importance"] > table.loc[["lr", "batch_norm"], "noise"]).all()
    assert table["importance"].sum() == pytest.approx(1)
    assert max(table.loc[list(NULL), "importance"]) < table.loc["batch_norm", "importance"]


def test_in_plain_mode_the_importances_are_the_same(monkeypatch: pytest.MonkeyPatch):
    small = read_trials(make_study(40))
    quick = ped_anova(small, bootstraps=2)
    monkeypatch.setenv("RUNGWISE_PLAIN", "1")
    for ours, plain in zip(quick, ped_anova(small, bootstraps=2), strict=True):
        pd.testing.assert_frame_equal(plain.table, ours.table)


def test_fanova_of_the_surrogate_gives_a_parent_its_due(big):
    surrogate = fit_surrogate(big)
    assert surrogate is not None
    assert surrogate.quality.trusted
    ranked = fanova(surrogate).table["parameter"].to_list()
    assert ranked[:2] == ["lr", "batch_norm"]
    assert "depth" in ranked[:4]


def test_values_that_shuffled_objectives_reach_are_not_above_noise(big):
    surrogate = fit_surrogate(big)
    assert surrogate is not None
    shares = fanova(surrogate, shuffled=[fit_shuffled(big, seed=seed) for seed in range(2)])
    assert {"lr", "batch_norm"} <= set(shares.above_noise["parameter"])
    assert not set(NULL) & set(shares.above_noise["parameter"])
    at_full_budget = ped_anova(big, bootstraps=8)[-1]
    assert set(at_full_budget.noise_names) & set(NULL)
    assert {*at_full_budget.noise_names, *at_full_budget.above_noise["parameter"]} == set(DISTRIBUTIONS)


def test_a_study_of_noise_trips_the_gate_and_tells_almost_nothing():
    trials = read_trials(make_study(80, seed=11, effects=Effects.none()), make_run())
    impact = study_impact(trials)
    assert not impact.trusted
    assert impact.verdict.endswith("), so its figures are left out.")
    assert sum(e.found for e in impact.effects) <= 3  # of 12 at 5 %: more has a chance of one in 500
    assert not impact.interactions["found"].any()


def test_a_true_interaction_is_the_strongest_and_lies_in_its_interval():
    strong = Effects(interaction=0.03)
    trials = read_trials(make_study(400, seed=5, effects=strong), make_run())
    first = interactions(trials).iloc[0]
    assert {first["first"], first["second"]} == {"batch_norm", "lr"}
    low, high = (math.log10(float(v)) for v in first["second_change"].split(" to "))
    assert first["found"]
    assert first["low"] <= strong.interaction * (high - low) <= first["high"]


def test_the_ablation_path_ends_at_the_best_configuration_and_moves_children_with_their_parent(big):
    surrogate, best = fit_surrogate(big), big.best
    assert surrogate is not None
    assert best is not None
    steps = ablation(surrogate, big.baseline, config_of(best)).steps
    moved = [text for text in steps["change"] if text.startswith("depth")]
    if config_of(best)["depth"] > 2:
        assert "with width_2" in moved[0]
    assert steps["gain"].iloc[1:].sum() == pytest.approx(steps["value"].iloc[-1] - steps["value"].iloc[0])
    assert any(text == "batch_norm: False to True" for text in steps["change"])


def test_projection_is_exact_on_a_noiseless_linear_growth():
    random = np.random.default_rng(0)
    first = random.normal(size=200)
    values = np.column_stack([first, 2 * first + 1])
    hidden = np.where(first[:, None] < 0, [[0, np.nan]], 0) + values
    projected = make_projector(hidden, random.normal(size=(200, 3))).project()
    np.testing.assert_allclose(projected, values[:, 1], atol=1e-2)


def test_the_bags_interval_removes_the_noise_inside_the_bags():
    random = np.random.default_rng(0)
    by_tree = random.normal(size=(4000, 1, 1)) + 3 * random.normal(size=(4000, 4, 1))
    _, low, high = bag_interval(by_tree)
    assert (high - low)[0] / 2 == pytest.approx(1.96, rel=0.1)


def test_a_replay_of_halving_on_known_curves_counts_epochs_and_unknowns():
    curves = np.array([[0.9, 0.9, 0.9], [0.5, np.nan, np.nan], [0.1, np.nan, np.nan], [0.95, 0.96, 0.97]])
    epochs, kept, unknown = stopping.replay(curves, [1], eta=2)
    assert (epochs, kept.tolist(), unknown) == (3 + 1 + 1 + 3, [True, False, False, True], 0)
    assert stopping.replay(curves, [], eta=2)[2] == 2, "without rungs the two cut curves would have gone on"


def test_the_audit_counts_what_was_saved():
    trials = read_trials(make_study(60, seed=2), make_run())
    found = stopping.audit(trials)
    assert found.epochs_full == 60 * 27
    assert found.epochs_trained == trials.trials["epochs"].sum()
    assert found.survival["reached"].iloc[0] == 60
    assert {2, 3, 4} == set(found.what_if["reduction_factor"])
    same = found.what_if.query("reduction_factor == 3 and first_rung == 1").iloc[0]
    assert same["lost"] == 0


def test_flips_change_one_thing_and_keep_the_conditions():
    trials = read_trials(make_study(200, seed=4), make_run())
    assert trials.best is not None

    def fits(params):
        names = {n for n in DISTRIBUTIONS if n not in ("momentum", "width_2", "width_3")}
        names |= {"momentum"} if params["optimizer"] == "sgd" else set()
        return names | {f"width_{i}" for i in (2, 3) if i < params["depth"]}

    best = config_of(trials.best)
    for flip in confirm.flips(trials, fits):
        assert set(flip.params) == fits(flip.params)
        differ = {n for n in set(best) & set(flip.params) if label(flip.params[n]) != label(best[n])}
        assert {n for n in differ if float(n != flip.parameter)} == set() or differ == {flip.parameter}
    assert {f.parameter for f in confirm.flips(trials, fits)} >= {"batch_norm", "augmentation", "optimizer", "depth"}
    assert best["dropout"] > 0
    assert [f.after for f in confirm.flips(trials, fits) if f.parameter == "dropout"] == [0.0]


def test_hyperparameters_without_an_off_are_set_back_to_the_baseline_one_by_one():
    trials = read_trials(make_study(60, seed=4), make_run())
    best = config_of(trials.best)  # type: ignore[arg-type]
    names = {name for name in ("lr", "momentum") if name in best}
    found = confirm.returns(trials, lambda params: set(best), baseline={"lr": 0.5, "momentum": 0.5, "gone": 1})
    assert {flip.parameter for flip in found} == names
    assert all(flip.params == {**best, flip.parameter: 0.5} for flip in found)
    assert confirm.returns(trials, lambda params: set(best), baseline=dict(best)) == []


def test_flips_are_confirmed_of_the_named_hyperparameters_alone():
    found = [
        confirm.Flip(parameter=name, before=False, after=True, params={})
        for name in ("depth", "momentum", "batch_norm", "depth")
    ]
    assert [flip.parameter for flip in confirm.only(found, "batch_norm, depth")] == ["depth", "batch_norm", "depth"]
    assert confirm.only(found, None) == found
    with pytest.raises(ValueError, match=r"here batch_norm, depth, momentum; got dept$"):
        confirm.only(found, "dept")


def test_paired_intervals_are_the_textbook_ones():
    results = pd.DataFrame(
        [("best", s, 0.9 + 0.01 * s) for s in range(4)] + [("x: a to b", s, 0.88 + 0.01 * s) for s in range(4)],
        columns=pd.Index(["flip", "seed", "value"]),
    )
    results.loc[4:, "value"] += [0.001, -0.001, 0.001, -0.001]
    row = confirm.paired(results).iloc[0]
    half = 3.182446 * np.std([0.001, -0.001, 0.001, -0.001], ddof=1) / 2
    assert row["worth"] == pytest.approx(0.02)
    assert (row["high"] - row["low"]) / 2 == pytest.approx(half, rel=1e-5)
    assert row["found"]


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_losses_that_do_not_vary_over_seeds_have_no_interval_and_verify_nothing(seeds: int):
    values = [(flip, seed, 0.95 + 0.01 * seed - loss) for flip, loss in (("best", 0.0), ("x: a to b", 0.0025))
              for seed in range(seeds)]  # fmt: skip
    row = confirm.paired(pd.DataFrame(values, columns=pd.Index(["flip", "seed", "value"]))).iloc[0]
    assert row["worth"] == pytest.approx(0.0025)
    assert np.isnan([row["low"], row["high"]]).all()
    assert not row["found"]


def test_changes_that_failed_on_every_seed_are_listed_and_verify_nothing():
    values = [("best", 0, 0.9), ("best", 1, 0.8), ("a", 0, np.nan), ("a", 1, np.nan)]
    results = pd.DataFrame(values, columns=pd.Index(["flip", "seed", "value"]))
    assert confirm.paired(results)[["flip", "num_seeds", "found"]].to_numpy().tolist() == [["a", 0, False]]
    assert not confirm.paired(results.replace({"best": "a", "a": "best"})).iloc[0]["found"]


def test_confidence_is_wilsons_interval_and_counts_the_ties():
    trials = read_trials(make_study(40, seed=1, stop=False), make_run())
    sure = confidence(trials, num_validation=180)
    assert sure is not None
    assert sure.low < sure.value < sure.high
    values = trials.complete["value"]
    assert sure.tied == int(((values >= sure.low) & (values <= sure.high)).sum()) - 1


def test_a_planted_duplicate_is_a_leak_and_a_clean_split_is_none(tmp_path):
    digits = data.load("digits", tmp_path)
    clean = overview(digits)
    assert clean.counts["training"].sum() == len(digits.train)
    assert clean.leaks == 0
    assert clean.leakage == (
        f"None of the {len(digits.validation):,} validation rows is an exact copy of a training row. Near duplicates "
        "and related rows were not checked."
    )
    digits.validation.x[0] = digits.train.x[0]
    digits.validation.y[0] = (digits.train.y[0] + 1) % 10
    leaky = overview(digits)
    assert (leaky.leaks, leaky.conflicts) == (1, 1)
    assert "Leakage: the training rows include 1 of" in leaky.leakage


def test_a_design_of_no_trials_is_empty_and_warns_of_nothing():
    trials = read_trials(make_study(12, seed=0), make_run())
    design = make_design(trials.parameters, params_of(trials.measured).iloc[:0])
    assert design.matrix.shape == (0, 0)
    assert list(design.owner) == []
