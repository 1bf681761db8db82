"""Questions of a search: how the epochs are shared out among levels, what is refused, and what a resume keeps."""

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import BaseTrial, FrozenTrial, TrialState

from search.forecast.retraining import asked
from search.forecast.simulate import Silent, simulate
from search.scheduling.allocation import MAX_FAILURES
from search.scheduling.baseline import with_baseline
from search.scheduling.constraints import Examination
from search.scheduling.messages import EpochResult, Leg
from search.scheduling.search import Search
from search.session.checks import check
from search.session.expecting import read_priors, resolve_priors
from search.session.options import Options
from search.session.questions import read_words, resolve
from search.session.setting import read_set, resolve_set
from search.storage.ledger import Ledger
from search.storage.run import Question, Run, read_run, write_run
from search.storage.trials import epochs_reached
from spaces.levels import parameters
from spaces.space import Space
from tests.ledgers import make_run

EPOCHS = 9
TWO, THREE = Question(parameter="norm", levels=(True, False)), Question(parameter="depth", levels=(1, 2, 3))


def suggest(trial: BaseTrial) -> dict[str, Any]:
    params: dict[str, Any] = {
        "lr": trial.suggest_float("lr", 1e-3, 1.0, log=True),
        "depth": trial.suggest_int("depth", 1, 4),
        "norm": trial.suggest_categorical("norm", (True, False)),
        "rows": trial.suggest_int("rows", 10, 500),
        "drop": trial.suggest_float("drop", 0.0, 0.5),
    }
    if params["depth"] > 2:
        params["skip"] = trial.suggest_categorical("skip", ("none", "add"))
    if not params["norm"]:
        params["scale"] = trial.suggest_float("scale", 0.5, 2.0)
    return params


def train(config: dict[str, Any], run: Any) -> None: ...


SPACE = Space(
    suggest=suggest,
    train=train,
    baseline={"lr": 0.1, "depth": 2, "norm": True, "rows": 100, "drop": 0.0},
    metric="score",
    epochs=EPOCHS,
    direction="maximize",
)


class Values:
    """Norm is worth 0.1, a depth of 3 is best, and so is a learning rate of 0.1; an epoch takes longer when deep."""

    def seconds(self, leg: Leg, epoch: int) -> float:
        return 1.0 + leg.params["depth"]

    def value(self, leg: Leg, epoch: int) -> float:
        best = 1 - 0.2 * (math.log10(leg.params["lr"]) + 1) ** 2 + 0.1 * leg.params["norm"]
        return best - 0.05 * abs(leg.params["depth"] - 3) - 0.5 / epoch + (leg.seed % 97) * 1e-4


def asking(*questions: Question, fixed: dict[str, Any] | None = None, **settings: Any) -> Run:
    run = make_run(**{"sampler": "curves", "trials": 40, "epochs": EPOCHS, "metric": "score", **settings})
    run = replace(run, questions=questions, fixed=fixed or {}, direction="maximize")
    return with_baseline(run, SPACE, lambda config: Examination())


def epochs_of(trials: list[FrozenTrial], question: Question) -> list[int]:
    """What was spent on each level on behalf of this question."""
    name = question.parameter
    mine = [t for t in trials if t.user_attrs.get("question", name) == name]
    return [sum(epochs_reached(t) for t in mine if t.params[name] is level or t.params[name] == level) for level in
            question.levels]  # fmt: skip


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("sampler", ["curves", "tpe", "random"])
@pytest.mark.parametrize("question", [TWO, THREE], ids=lambda q: q.parameter)
def test_every_level_gets_equal_epochs_and_a_finished_trial(question: Question, sampler: str, slots: int):
    outcome = simulate(asking(question, sampler=sampler), SPACE, Values(), slots=slots)
    spent = epochs_of(outcome.trials, question)
    assert max(spent) - min(spent) < EPOCHS
    finished = {t.params[question.parameter] for t in outcome.trials if t.state == TrialState.COMPLETE}
    assert finished == set(question.levels)
    assert len(outcome.trials) == 40


def test_without_early_stopping_the_levels_get_equal_epochs_as_well():
    outcome = simulate(asking(THREE, pruner="none", trials=15), SPACE, Values(), slots=2)
    assert epochs_of(outcome.trials, THREE) == [5 * EPOCHS] * 3


def test_levels_that_train_to_the_end_more_often_get_fewer_trials_not_more_epochs():
    question = Question(parameter="lr", levels=(0.1, 0.9))
    outcome = simulate(asking(question, sampler="random", trials=60), SPACE, Values(), slots=1)
    spent = epochs_of(outcome.trials, question)
    assert max(spent) - min(spent) < EPOCHS


def test_two_questions_share_the_epochs_and_leave_each_other_free():
    outcome = simulate(asking(TWO, THREE, trials=60), SPACE, Values(), slots=1)
    two, three = epochs_of(outcome.trials, TWO), epochs_of(outcome.trials, THREE)
    assert max(two) - min(two) < EPOCHS
    assert max(three) - min(three) < EPOCHS
    assert abs(sum(two) - sum(three)) < 3 * EPOCHS
    for_norm = [t for t in outcome.trials if t.user_attrs.get("question") == "norm"]
    assert len({t.params["depth"] for t in for_norm}) > 2, "a nuisance parameter is searched for each level"


def test_the_search_begins_with_the_baseline_at_each_level():
    run = asking(THREE, fixed={"lr": 0.5})
    assert [p.params["depth"] for p in run.plan] == [2, 1, 3]
    assert {p.params["lr"] for p in run.plan} == {0.5}
    assert [p.question for p in run.plan] == ["", "depth", "depth"]
    assert run.plan[0].tag == "baseline"
    assert "skip" in run.plan[2].params, "what a level needs as well is added"


@pytest.mark.parametrize("sampler", ["curves", "tpe", "random", "gp", "cmaes", "qmc"])
def test_a_fixed_parameter_has_one_value_in_all_trials(sampler: str):
    run = asking(fixed={"norm": False, "lr": 0.01}, sampler=sampler, trials=14)
    outcome = simulate(run, SPACE, Values(), slots=1)
    assert {(t.params["norm"], t.params["lr"]) for t in outcome.trials} == {(False, 0.01)}
    assert len({t.params["drop"] for t in outcome.trials}) > 5
    assert outcome.trials[0].distributions["norm"] == optuna.distributions.CategoricalDistribution((True, False))


def stored(storage: InMemoryStorage) -> list[Any]:
    (study,) = storage.get_all_studies()
    trials = storage.get_all_trials(study._study_id)
    return [(t.params, t.intermediate_values, t.state, t.user_attrs.get("question")) for t in trials]


def begun(run: Run) -> InMemoryStorage:
    storage = InMemoryStorage()
    optuna.create_study(study_name=run.name, storage=storage, direction="maximize")
    return storage


def epochs(run: Run, storage: InMemoryStorage) -> Iterator[int]:
    """Searches with one worker, an epoch at a time."""
    search = Search(run, Ledger(storage, run), SPACE, examine=lambda config: Examination(), events=Silent())
    while (leg := search.next_leg("leg")) is not None:
        epoch, goes_on = leg.reported, True
        while goes_on:
            epoch += 1
            record = {"epoch": epoch, "score": Values().value(leg, epoch)}
            goes_on = search.on_result("leg", EpochResult(record=record))
            yield epoch
        search.end_leg("leg", lost=False)
    search.end()


@pytest.mark.parametrize("sampler", ["curves", "tpe"])
def test_a_killed_search_ends_with_the_study_of_an_undisturbed_one(sampler: str):
    run = asking(TWO, THREE, sampler=sampler, trials=30)
    calm, disturbed = begun(run), begun(run)
    for _ in epochs(run, calm):
        pass
    ended = False
    while not ended:
        for number, _ in enumerate(epochs(run, disturbed)):
            if number == 6:  # the process dies; the next one finds what is stored
                break
        else:
            ended = True
    assert stored(disturbed) == stored(calm)


def test_a_question_that_is_asked_later_catches_up_where_the_search_spent_least():
    run = replace(asking(sampler="tpe", trials=30), questions=())
    storage = begun(run)
    for _ in epochs(run, storage):
        pass
    later = replace(run, questions=(THREE,), trials=60)
    for _ in epochs(later, storage):
        pass
    spent = epochs_of(storage.get_all_trials(0), THREE)
    assert max(spent) - min(spent) < EPOCHS


def test_a_run_keeps_its_questions_and_older_runs_have_none(tmp_path: Path):
    run = asking(TWO, THREE, fixed={"lr": 0.5})
    (tmp_path / "study.db").touch()
    write_run(tmp_path, run)
    assert read_run(tmp_path) == run
    old = (Path(__file__).parent / "fixtures" / "format-1" / "run.json").read_text()
    (tmp_path / "run.json").write_text(old)
    assert (read_run(tmp_path).questions, read_run(tmp_path).fixed) == ((), {})


@pytest.mark.parametrize(
    ("texts", "levels"),
    [
        ("norm", (True, False)),
        ("norm=false,true", (False, True)),
        ("depth", (1, 2, 3, 4)),
        ("depth=4,2", (4, 2)),
        ("lr=0.01,1e-1", (0.01, 0.1)),
        ("lr", (0.0032, 0.032, 0.32)),
        ("drop", (0.0, 0.25, 0.42)),
        ("rows", (91, 255, 419)),
    ],
)
def test_levels_are_those_that_are_named_or_a_few_of_the_range(texts: str, levels: tuple[Any, ...]):
    (question,) = resolve(read_words((), (texts,)), SPACE, trials=40)["questions"]
    assert question.levels == levels
    assert [type(level) for level in question.levels] == [type(level) for level in levels]


@pytest.mark.parametrize(
    ("fix", "question", "message"),
    [
        ((), ("dept",), r"--question dept: the space has no such parameter \(did you mean depth\?\); it has lr, depth"),
        ((), ("depth=1,9",), r"--question depth=9: depth must lie in 1..4, got 9"),
        ((), ("depth=1,2.5",), r"--question depth=2.5: depth must lie in 1..4, got 2.5"),
        ((), ("norm=yes,no",), r"--question norm=yes: norm must lie in \{True, False\}, got yes"),
        ((), ("lr=0.1,nan",), r"--question lr=nan: lr must lie in"),
        ((), ("lr=0.1,0.10",), r"--question lr: a comparison needs two values, got 0.1"),
        ((), ("skip",), r"--question skip: only some configurations have skip; fix what it depends on with --fix"),
        (("depth=1",), ("skip",), r"--question skip: no configuration has skip with depth=1; leave one of them out"),
        (("depth=1", "skip=add"), (), r"--fix skip: no configuration has skip with depth=1"),
        (("depth=0",), (), r"--fix depth=0: depth must lie in 1..4, got 0"),
        (("deph=1",), (), r"--fix deph: the space has no such parameter \(did you mean depth\?\)"),
        ((), ("rows=" + ",".join(map(str, range(10, 30))),), r"--question rows: at most 10 values can be compared"),
        ((), ("norm", "depth", "lr", "drop"), r"--trials must be at least 60 \(5 for each value compared\), got 40"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(fix: tuple[str, ...], question: tuple[str, ...], message: str):
    with pytest.raises(ValueError, match=message):
        resolve(read_words(fix, question), SPACE, trials=40)


def test_a_conditional_parameter_can_be_asked_about_where_its_condition_is_fixed():
    found = resolve(read_words(("depth=3",), ("skip",)), SPACE, trials=40)
    assert found == {"fixed": {"depth": 3}, "questions": (Question(parameter="skip", levels=("none", "add")),)}
    assert asked(asking(*found["questions"], fixed=found["fixed"])) == [
        "metric: score, larger is better",
        "fixed: depth = 3",
        "question: skip (none, add), with equal epochs for each value",
    ]


def test_a_parameter_is_known_with_all_its_ranges():
    known = parameters(lambda trial: trial.suggest_int("b", 1, 2 * trial.suggest_int("a", 1, 3)))
    assert len(known["b"].ranges) == 3
    assert known["b"].allows(2)
    assert not known["b"].allows(3), "only some configurations may have it"


@pytest.mark.parametrize(("sampler", "pruner"), [("gp", "asha"), ("curves", "median"), ("tpe", "asha-stop")])
def test_a_question_needs_rules_that_share_out_epochs(sampler: Any, pruner: Any):
    with pytest.raises(ValueError, match=r"--question works with --(sampler|pruner) .*; choose one of them"):
        check(Options(question=("depth",), sampler=sampler, pruner=pruner))


def test_levels_alternate_from_the_start():
    run = asking(TWO, sampler="random", pruner="none", trials=12)
    outcome = simulate(run, SPACE, Values(), slots=1)
    assert all(a.params["norm"] != b.params["norm"] for a, b in pairwise(outcome.trials))


class Failing(Values):
    """Trainings of three layers diverge in their first epoch, at all learning rates or at large ones."""

    def __init__(self, above: float) -> None:
        self._above = above

    def value(self, leg: Leg, epoch: int) -> float:
        return math.nan if leg.params["depth"] == 3 and leg.params["lr"] > self._above else super().value(leg, epoch)


def of_level(trials: list[FrozenTrial], depth: int) -> list[FrozenTrial]:
    return [trial for trial in trials if trial.params["depth"] == depth]


@pytest.mark.parametrize(("sampler", "slots"), [("curves", 1), ("tpe", 4), ("random", 1)])
def test_a_level_whose_trainings_all_fail_is_given_up_and_the_others_get_its_share(sampler: str, slots: int):
    outcome = simulate(asking(THREE, sampler=sampler), SPACE, Failing(above=0.0), slots=slots)
    assert len(of_level(outcome.trials, 3)) <= MAX_FAILURES + slots
    spent = epochs_of(outcome.trials, Question(parameter="depth", levels=(1, 2)))
    assert max(spent) - min(spent) < EPOCHS
    assert sum(spent) >= 60


@pytest.mark.parametrize("sampler", ["curves", "random"])
def test_a_level_whose_trainings_often_fail_leaves_the_others_their_share(sampler: str):
    outcome = simulate(asking(THREE, sampler=sampler), SPACE, Failing(above=0.01), slots=1)
    assert min(len(of_level(outcome.trials, depth)) for depth in (1, 2, 3)) >= 8
    assert any(trial.state == TrialState.COMPLETE for trial in of_level(outcome.trials, 3))


@pytest.mark.parametrize("share", [0.0, 0.02])
def test_a_level_that_exceeds_a_bound_is_given_up_and_the_search_goes_on(share: float):
    def examine(config: dict[str, Any]) -> Examination:
        fits = config["depth"] != 3 or config["drop"] < 0.5 * share
        return Examination(excess={"weights": -1.0 if fits else 1.0})

    run = replace(make_run(sampler="random", trials=30, epochs=EPOCHS, metric="score"), direction="maximize")
    run = with_baseline(replace(run, questions=(THREE,)), SPACE, examine)
    outcome = simulate(run, SPACE, Values(), slots=1, examine=examine)
    assert len(outcome.trials) == 30
    assert bool(of_level(outcome.trials, 3)) == (share > 0)
    assert {t.params["depth"] for t in outcome.trials if t.state == TrialState.COMPLETE} >= {1, 2}


def test_a_level_that_is_given_up_is_said_once_and_not_again_after_a_resume():
    run, said = asking(THREE, sampler="random", trials=20), []

    class Told(Silent):
        def notice(self, text: str) -> None:
            said.append(text)

    storage = begun(run)
    search = Search(run, Ledger(storage, run), SPACE, examine=lambda config: Examination(), events=Told())
    while len(search.trials) < 15 and (leg := search.next_leg("leg")) is not None:
        failed = leg.params["depth"] == 3
        record = None if failed else {"epoch": leg.reported + 1, "score": Values().value(leg, leg.reported + 1)}
        search.on_result("leg", EpochResult(record=record, failure="nan" if failed else None))
        search.end_leg("leg", lost=False)
    assert said == ["configurations with depth = 3 fail or exceed a limit; the other values get the rest of the search"]
    again = Search(run, Ledger(storage, run), SPACE, examine=lambda config: Examination(), events=Told())
    assert again.next_leg("leg") is not None
    assert len(said) == 1


def loose(trial: BaseTrial) -> dict[str, Any]:
    return {
        "ema_decay": trial.suggest_categorical("ema_decay", (0.0, 0.99)),
        "width": trial.suggest_categorical("width", (100, 200)),
        "code": trial.suggest_categorical("code", ("1e2", "100", 100, "x")),
        "depth": trial.suggest_int("depth", 1, 4),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5, step=0.05),
        "batch_norm": trial.suggest_categorical("batch_norm", (True, False)),
        "flag": trial.suggest_categorical("flag", (True, 0)),
        "block": trial.suggest_categorical("block", (None, "Plain")),
    }


LOOSE = parameters(loose)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("ema_decay", "0", 0.0), ("ema_decay", ".99", 0.99), ("width", "1e2", 100), ("width", "200.0", 200),
        ("code", "100", "100"), ("code", "1e2", "1e2"), ("code", "100.0", 100), ("depth", "2.0", 2),
        ("dropout", "0", 0.0), ("dropout", ".15", 0.15), ("batch_norm", "TRUE", True), ("batch_norm", "false", False),
        ("flag", "0", 0), ("flag", "true", True), ("block", "none", None), ("block", "plain", "Plain"),
    ],
)  # fmt: skip
def test_a_value_may_be_written_in_any_way(name: str, text: str, value: Any):
    found = LOOSE[name].parse(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("batch_norm", "1", r"batch_norm must lie in \{True, False\}, got 1"),
        ("flag", "1", r"flag must lie in \{True, 0\}, got 1"),
        ("depth", "2.5", r"depth must lie in 1..4, got 2.5$"),
        ("depth", "nan", r"depth must lie in 1..4, got nan$"),
        ("dropout", "0.07", r"dropout must lie in 0.0..0.5 in steps of 0.05, got 0.07$"),
        ("width", "150", r"width must lie in \{100, 200\}, got 150$"),
    ],
)
def test_what_a_value_is_not_is_said_with_all_of_the_rule(name: str, text: str, message: str):
    with pytest.raises(ValueError, match=message):
        LOOSE[name].parse(text)


def test_all_options_read_a_value_alike():
    space = replace(SPACE, suggest=loose, baseline={
        "ema_decay": 0.0, "width": 100, "code": "x", "depth": 1, "dropout": 0.0, "batch_norm": True, "flag": 0,
        "block": None,
    })  # fmt: skip
    words = read_words(("ema_decay=0",), ("width=1e2,200.0",))
    found = resolve(words, space, trials=40)
    assert (found["fixed"], found["questions"][0].levels) == ({"ema_decay": 0.0}, (100, 200))
    (prior,) = resolve_priors(read_priors(["width=1e2"], sampler="curves"), space, fixed={})
    assert prior.values == (100,)
    (chosen,) = resolve_set(read_set(["batch_norm=TRUE,False"]), space)
    assert chosen.choices == (True, False)
    (widths,) = resolve_set(read_set(["width=1e2,300"]), space)
    assert [(width, type(width)) for width in widths.choices] == [(100, int), (300, int)]
