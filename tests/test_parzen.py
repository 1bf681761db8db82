"""The quick TPE against Optuna's own: they suggest the same."""

import warnings

import numpy as np
import optuna
import pytest
from optuna.samplers import TPESampler
from optuna.study import Study
from optuna.trial import Trial, TrialState

import spaces.space
from search.algorithms.optuna_samplers import make_encodings, make_sampler
from search.algorithms.tpe import Encodings, QuickTPESampler


def optunas(seed: int) -> TPESampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(multivariate=True, group=True, constant_liar=True, n_startup_trials=5, seed=seed)


def quick(seed: int, encodings: Encodings) -> TPESampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return QuickTPESampler(encodings, num_startup_trials=5, seed=seed)


def end(study: Study, trial: Trial, generator: np.random.Generator) -> None:
    """Ends as trials do: most with a value, some stopped, failed or drawn in vain; the last few run still."""
    match trial.number % 8:
        case 0:
            trial.report(generator.random(), 1)
            study.tell(trial, state=TrialState.PRUNED)
        case 1 if trial.number > 20:
            trial.set_constraint("weights", generator.random())
            study.tell(trial, state=TrialState.PRUNED)
        case 2:
            study.tell(trial, state=TrialState.FAIL)
        case _:
            study.tell(trial, generator.random())


@pytest.mark.parametrize("space", ["digits_arch", "housing_mlp", "fashion_small"])
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_every_suggestion_is_that_of_optuna_to_the_bit(space: str, direction: str):
    studies = [optuna.create_study(direction=direction) for _ in range(2)]
    generators = [np.random.default_rng(0) for _ in studies]
    running: list[list[Trial]] = [[], []]
    encodings, suggest = Encodings(), spaces.space.load(space).suggest
    for number in range(60):
        for study, sampler, generator, trials in zip(
            studies, (optunas(number), quick(number, encodings)), generators, running, strict=True
        ):
            study.sampler = sampler
            trials.append(study.ask())
            suggest(trials[-1])
            if len(trials) > 6:
                end(study, trials.pop(0), generator)
        first, second = (study.get_trials(deepcopy=False)[number] for study in studies)
        assert second.params == first.params
        assert second.system_attrs == first.system_attrs


def test_a_parameter_that_no_finished_trial_has_is_suggested_as_optuna_does():
    def suggest(trial: Trial) -> None:
        trial.suggest_float("x", 0.1, 1, log=True)
        trial.suggest_int("n", 2, 64, log=True)
        if trial.number >= 12:
            trial.suggest_float("late", 0, 1, step=0.25)
            trial.suggest_int("later", 1, 9)

    studies, encodings = [optuna.create_study() for _ in range(2)], Encodings()
    for number in range(30):
        for study, sampler in zip(studies, (optunas(number), quick(number, encodings)), strict=True):
            study.sampler = sampler
            trial = study.ask()
            suggest(trial)
            if number < 12 or number > 20:
                study.tell(trial, trial.params["x"])
    first, second = ([t.params for t in study.trials] for study in studies)
    assert second == first


def test_in_plain_mode_the_suggestions_are_optunas_own(monkeypatch: pytest.MonkeyPatch):
    assert isinstance(make_encodings(), Encodings)
    monkeypatch.setenv("RUNGWISE_PLAIN", "1")
    assert make_encodings() is None
    assert type(make_sampler("tpe", seed=0, trial_seed=1, encodings=make_encodings())) is TPESampler
