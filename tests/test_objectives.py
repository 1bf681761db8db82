"""Two objectives: dominance, hypervolume, its expected improvement; promotion, resume, mistakes, and the front."""

import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from rich.console import Console

from analysis import ask
from rungwise import listing
from search.algorithms.front import contributions, expected_gain, front_trials, hypervolume, order, ranks
from search.algorithms.front_rungs import FrontRungs
from search.algorithms.tradeoff import _reference, is_steady
from search.process.arguments import parse
from search.runtime.resources import Resources
from search.scheduling.constraints import Examination, broken_metric, make_price
from search.session.bestfiles import keep_best
from search.session.console import SearchConsole, summarise
from search.session.fixed import FixedTraining
from search.session.options import Options
from search.session.session import Session
from search.session.tradeoffs import check_objectives_kept, describe_front, evenly, front_facts, front_table
from search.storage.run import read_run
from search.storage.space import space_of
from search.storage.study import new_run, open_study, resume_study
from spaces.objectives import Objective
from spaces.second import Second, read_objectives, second_of
from tests.benches import SPACE, Bench, kill_driver
from tests.fronts import FRONT, WEIGHTS, finished, make, run_of
from tests.ledgers import make_run
from trainables.sources.load import load

optuna.logging.set_verbosity(optuna.logging.ERROR)

LATENCY = {"name": "latency", "direction": "minimize", "known": False}


def draw_points(seed: int, count: int = 14) -> list[tuple[float, float]]:
    """Whole numbers, so that some are equal."""
    return [(float(x), float(y)) for x, y in np.random.default_rng(seed).integers(0, 8, size=(count, 2))]


def dominates(p: tuple[float, float], q: tuple[float, float]) -> bool:
    return p[0] >= q[0] and p[1] >= q[1] and p != q


def area(points: list[tuple[float, float]], *, low: int = -1, high: int = 8) -> int:
    """The hypervolume above (low, low) by counting unit squares."""
    cells = [(x, y) for x in range(low, high) for y in range(low, high)]
    return sum(any(x < p[0] and y < p[1] for p in points) for x, y in cells)


@pytest.mark.parametrize("seed", range(30))
def test_ranks_hypervolume_and_contributions_are_those_of_brute_force(seed: int):
    points = draw_points(seed)
    left, peeled, rank = set(points), {}, 0
    while left:
        front = {p for p in left if not any(dominates(q, p) for q in left)}
        peeled |= dict.fromkeys(front, rank)
        left, rank = left - front, rank + 1
    assert ranks(points) == [peeled[point] for point in points]
    assert hypervolume(points, (-1, -1)) == area(points)
    front = [point for point in points if peeled[point] == 0]
    without = [area([*front[:i], *front[i + 1 :]]) for i in range(len(front))]
    assert contributions(front, (-1, -1)) == [area(front) - one for one in without]


def test_the_order_goes_by_rank_and_then_by_what_a_point_adds():
    found = order([(1, 1), (9, 1), (1, 9), (5, 5), (5, 4.9)])
    assert set(found[:3]) == {1, 2, 3}
    assert found[0] == 3, "the point between the ends adds most above the worst of each objective"
    assert found[3:] == [4, 0]
    assert order([]) == []
    assert order([(0, 0), (0, 0)]) == [0, 1]
    moved = [(math.exp(x), 7 * y - 3) for x, y in draw_points(3)]
    assert order(moved) == order(draw_points(3)), "only the order within each objective matters"


@pytest.mark.parametrize("known", [False, True])
def test_the_expected_gain_is_that_of_a_simulation(known: bool):
    rng = np.random.default_rng(5)
    front, reference = [(0.2, 1.5), (1.0, 0.4), (0.1, 0.1), (2.0, -1.5)], (-0.5, -1.0)
    first = rng.normal(size=6), rng.uniform(0.2, 1.5, size=6)
    second = rng.normal(size=6), np.zeros(6) if known else rng.uniform(0.2, 1.5, size=6)
    found = expected_gain(front, reference, first, second)
    before, draws = hypervolume(front, reference), 20_000
    for i, value in enumerate(found):
        noise = rng.normal(size=(draws, 2))
        points = zip(first[0][i] + first[1][i] * noise[:, 0], second[0][i] + second[1][i] * noise[:, 1], strict=True)
        gains = np.array([hypervolume([*front, point], reference) - before for point in points])
        assert value == pytest.approx(gains.mean(), abs=4 * gains.std() / math.sqrt(draws) + 1e-4)


def test_the_third_that_continues_is_the_best_by_both_objectives():
    trials = [make(n, {1: value}, cost) for n, (value, cost) in enumerate([(0.9, 90), (0.8, 20), (0.7, 80)] * 3)]
    rungs = FrontRungs(trials, run_of(), find=trials.__getitem__)
    assert rungs.num_ranked == 9
    paused = set(range(9))
    promoted = []
    while (number := rungs.promotion(paused)) is not None:
        promoted.append(number)
        paused.discard(number)
    assert len(promoted) == 3
    assert not {2, 5, 8} & set(promoted), "they are worse and dearer than trial 1"
    assert rungs.leader({2, 5}) in (2, 5)

    grown = FrontRungs([], run_of(), find=trials.__getitem__)
    for trial in trials:
        grown.add(trial.number, rung=1, value=trial.intermediate_values[1])
    assert grown.pooled() == rungs.pooled()
    grown.remove(0)
    assert 0 not in grown.pooled()
    assert grown.num_ranked == 8


@pytest.mark.parametrize(
    "asked",
    [
        {"sampler": "curves", "trials": 16, "second": WEIGHTS},
        {"sampler": "curves", "trials": 16, "second": LATENCY},
        {"sampler": "tpe", "trials": 14, "second": WEIGHTS},
        {"sampler": "tpe", "trials": 13, "second": LATENCY, "pruner": "none"},
    ],
    ids=str,
)
def test_an_interrupted_search_ends_with_the_study_of_an_undisturbed_one(asked: dict[str, Any], tmp_path: Path):
    calm, torn = tmp_path / "calm", tmp_path / "torn"
    calm.mkdir()
    torn.mkdir()
    Bench(calm, **asked).train()
    while True:
        bench = Bench(torn, **asked)  # the one before is gone, in the middle of its leg
        given = bench.ask()
        if not isinstance(given, tuple):
            break
        epoch = given[1]["reported"] + 1
        bench.epoch(given[0], epoch, given[1]["params"]["lr"] + 0.001 * epoch)
    Bench(torn, **asked).train()
    rows = [[(t.params, t.intermediate_values, t.state) for t in open_study(f).trials] for f in (calm, torn)]
    assert rows[0] == rows[1]
    front = front_trials(Bench(calm, **asked).run, open_study(calm).trials)
    assert len(front) > 1
    assert front[0].value == max(t.value for t in open_study(calm).trials if t.state == TrialState.COMPLETE)  # type: ignore[type-var]


def test_a_driver_killed_between_two_writes_resumes_to_the_study_of_an_undisturbed_search(tmp_path: Path):
    calm, torn = tmp_path / "calm", tmp_path / "torn"
    calm.mkdir()
    torn.mkdir()
    asked: dict[str, Any] = {"sampler": "curves", "trials": 13, "second": LATENCY}
    Bench(calm, **asked).train()
    for point in ("sampled:4", "reported:20"):
        kill_driver(torn, point=point, **asked)
    Bench(torn, **asked).train()
    rows = [[(t.params, t.intermediate_values, t.state) for t in open_study(f).trials] for f in (calm, torn)]
    assert rows[0] == rows[1]


def test_an_objective_that_is_never_reported_is_named_with_what_is(tmp_path: Path):
    bench = Bench(tmp_path, second={**LATENCY, "name": "delay"})
    trial, _ = bench.ask()  # type: ignore[misc]
    assert not bench.epoch(trial, 1, 0.5)  # type: ignore[arg-type]
    (failed,) = [t for t in open_study(tmp_path).trials if t.state == TrialState.FAIL]
    assert failed.user_attrs["failure"] == ("no epoch reports the objective 'delay'; reported are accuracy, latency")
    assert broken_metric({"accuracy": 0.5, "delay": 2}, bench.run) == ""
    assert (
        broken_metric({"accuracy": 0.5, "delay": math.nan}, bench.run) == "objective 'delay' must be a number, got nan"
    )
    record = {"epoch": 1, "accuracy": 0.5, "latency": 2.0, "seconds": 1.0, "started": 3.0, "threads": 1}
    for wrong in ("latnecy", "Latency", "LATENCY"):
        run = run_of(second=Second(name=wrong, direction="minimize", known=False))
        assert broken_metric(record, run) == (
            f"no epoch reports the objective {wrong!r}; reported are accuracy, latency (did you mean latency?)"
        )
    assert read_objectives(["latency: min"]) == read_objectives([" latency:min "])


@pytest.mark.parametrize(("drift", "steady"), [(0.0, True), (0.02, True), (1.5, False)])
def test_an_objective_that_hardly_changes_is_steady(drift: float, steady: bool):
    run = run_of(second=Second(**LATENCY))
    records = [[{"latency": n + drift * epoch / 9} for epoch in range(9)] for n in range(5)]
    trials = [make(n, {1: 0.1, 3: 0.2, 9: 0.3}, 0, history=records[n]) for n in range(5)]
    assert is_steady(trials, run) == steady
    assert not is_steady([make(0, {1: 0.1}, 0, history=records[0])], run), "one value cannot tell"


def test_the_best_trials_and_show_name_both_objectives(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = run_of(second=Second(**LATENCY))
    new_run(tmp_path / "r", run)
    trials = [finished(n, 0.3 + n / 10, 0, history=[{"latency": 2.5 + n}] * 9) for n in range(2)]
    storage = resume_study(tmp_path / "r", run)
    for trial in trials:
        storage.create_new_trial(storage.get_study_id_from_name(run.name), template_trial=trial)
    said = io.StringIO()
    summarise(run, trials, console=Console(file=said, width=120))
    assert re.search(r"state +latency\n", said.getvalue())
    assert re.search(r"1 +0\.4000 +9/9 +\w+ +3\.5\n", said.getvalue())
    assert listing.main(["show", str(tmp_path / "r")]) == 0
    shown = capsys.readouterr().out
    assert "accuracy, to maximize and latency, to minimize" in shown
    assert "front: accuracy against latency" in shown


def test_a_configuration_that_cannot_be_built_has_the_worst_price():
    def examine(config: Any) -> Examination:
        return Examination(attrs={"weights": 1000 * config.optimizer.lr})

    price = make_price(run_of(), SPACE, examine)
    assert price({"lr": 0.1}) == pytest.approx(100)
    assert price({"rl": 0.1}) == math.inf
    assert make_price(run_of(), SPACE, lambda config: Examination(attrs={"weights": math.nan}))({"lr": 0.1}) == math.inf


ACCURACY = Objective(metric="accuracy", direction="maximize")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([":min"], "--objective must be NAME, NAME:min or NAME:max, got ':min'"),
        (["weights:"], "--objective must be NAME, NAME:min or NAME:max, got 'weights:'"),
        (["weights", "weights:min"], "--objective must name each objective once, got 'weights' twice"),
        (["weights:max"], "--objective weights: the direction is min, got max; leave :max out"),
        (["accuracy:min"], "--objective accuracy: the direction is max, got min"),
        (["latency"], "--objective latency needs a direction, :min or :max (known before training: weights)"),
        (["wieghts"], "(did you mean weights?)"),
        (["weights", "f1"], "--objective: one objective beside accuracy is possible, got weights and f1; leave one"),
    ],
)
def test_a_mistake_is_one_line_with_the_rule(words: list[str], message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        second_of(read_objectives(words), first=ACCURACY, costs=["weights"])


def test_the_metric_of_the_space_is_no_further_objective_and_known_metrics_have_a_direction():
    def found(*words: str) -> Second | None:
        return second_of(read_objectives(words), first=ACCURACY, costs=["weights", "flops"])

    assert found() is None
    assert found("accuracy") is None
    assert found("accuracy:max", "weights") == Second(**WEIGHTS)
    assert found("log_loss") == Second(name="log_loss", direction="minimize", known=False)
    assert found("flops") == Second(name="flops", direction="minimize", known=True)
    assert found("flops:max") == Second(name="flops", direction="maximize", known=True)
    assert found("pinball:0.9") == Second(name="pinball:0.9", direction="minimize", known=False)
    assert found("speed:max").option == "speed:max"  # type: ignore[union-attr]


def test_a_run_keeps_its_objectives_and_a_resumed_one_cannot_change_them(tmp_path: Path):
    where = ["--name", "x", "--runs-dir", str(tmp_path)]
    words = ["--objective", "accuracy", "--objective", "weights", *where]
    run = Session.open(parse(Options, words, prog="x"), given={"objective", "name"}).run
    assert run.second == Second(**WEIGHTS)
    new_run(tmp_path / "x", run)
    assert read_run(tmp_path / "x").second == run.second
    again = ["--resume", *where]
    assert Session.open(parse(Options, again, prog="x"), given={"resume"}).run.second == run.second
    same = parse(Options, [*again, "--objective", "weights:min"], prog="x")
    assert Session.open(same, given={"resume", "objective"}).run.second == run.second
    with pytest.raises(ValueError, match=r"began with --objective weights:min, which cannot change; leave --objective"):
        Session.open(parse(Options, [*again, "--objective", "macs"], prog="x"), given={"resume", "objective"})
    with pytest.raises(ValueError, match="--until-gain is for one objective, and this search has a second one"):
        Session.open(parse(Options, [*again, "--until-gain", "0.1"], prog="x"), given={"resume", "until_gain"})


def test_what_each_epoch_reports_is_no_objective_of_a_trial_that_keeps_its_best_epoch(tmp_path: Path):
    where = ["--runs-dir", str(tmp_path), "--keep-epoch", "best", "--train-size", "200"]
    for name, words in (("cost", ["--objective", "weights"]), ("time", ["--objective", "seconds"])):
        options = parse(Options, [*words, *where, "--name", name], prog="x")
        assert Session.open(options, given={"objective", "keep_epoch"}).run.second is not None
    with pytest.raises(
        ValueError, match=r"--objective macro_f1 needs --keep-epoch last: of the best epoch only accuracy"
    ):
        Session.open(parse(Options, ["--objective", "macro_f1", *where], prog="x"), given={"objective", "keep_epoch"})


def test_a_cost_that_only_epochs_report_may_be_stated_again_on_resume():
    second = Second(name="weights", direction="minimize", known=False)
    options = parse(Options, ["--objective", "weights"], prog="x")
    check_objectives_kept(run_of(second=second), options, given={"objective"})
    with pytest.raises(ValueError, match="began with no second objective"):
        check_objectives_kept(make_run(), options, given={"objective"})


def test_names_and_values_of_the_front_are_shown_as_they_are():
    trial = finished(0, 0.9, 900)
    other = finished(1, 0.8, 100)
    for one, choice in ((trial, "[relu]"), (other, "[/b]")):
        one.params["x"] = choice
    table = front_table(run_of(metric="top[1]"), [trial, other])
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table)
    shown = console.export_text()
    assert all(text in shown for text in ("[relu]", "[/b]"))
    assert shown.splitlines()[0].rstrip() == "front: top[1] against weights", (
        "in one line, though the table is narrower"
    )


def test_the_trainings_of_an_evaluation_have_one_objective():
    like, rows = run_of(space="digits_arch", dataset="digits"), load("digits", "", validation_fraction=0.1)
    resources = Resources(slots=1, cpus_per_trial=1, gpus_per_trial=0.0)
    fixed = FixedTraining(folder=Path("runs/x/final"), like=like, plan=[], dataset=rows, resources=resources)
    assert fixed._asked(space_of(fixed.like)).second is None


def test_a_question_is_not_asked_of_a_run_with_two_objectives(tmp_path: Path):
    new_run(tmp_path / "x", run_of(name="x"))
    with pytest.raises(
        ValueError, match="run 'x' has two objectives; a question is about one, so ask it of another run"
    ):
        ask.ask(ask.Options(run=tmp_path / "x", question=("x",)))


def test_the_reference_is_the_median_of_the_metric_and_far_below_the_worst_cost():
    assert _reference([(-1.0, 2.0), (0.25, 0.0), (3.0, -2.0)]) == (0.25, -6.0)


def test_the_live_view_has_the_front_in_a_line_that_follows_the_trials_that_end():
    assert describe_front(run_of(), FRONT) == "front so far: 3 trials, accuracy 0.5000 to 0.9000, weights 50 to 900"
    assert describe_front(run_of(), FRONT[:1]) == "front so far: 1 trial, accuracy 0.9000, weights 900"
    assert describe_front(run_of(), []) == describe_front(make_run(), FRONT) == ""
    console = Console(width=100, record=True, file=io.StringIO(), force_terminal=True)
    follower = SearchConsole(run_of(), console=console)
    for trial in FRONT[:2]:
        follower.started(trial)
        follower.ended(trial)
        console.print(follower._render())
    shown = console.export_text()
    assert shown.index("front so far: 1 trial,") < shown.index("front so far: 2 trials, accuracy 0.8000 to 0.9000")


def test_the_front_is_in_the_table_the_answer_and_the_files(tmp_path: Path):
    trials = [*FRONT, make(5, {1: 0.99}, 1)]
    run = run_of()
    assert [t.number for t in front_trials(run, trials)] == [0, 1, 4], (
        "of equal trials the older, and only finished ones"
    )
    facts = front_facts(run, trials)
    assert facts["second"] == WEIGHTS
    assert [(one["trial"], one["value"], one["second"]) for one in facts["front"]] == [
        (0, 0.9, 900), (1, 0.8, 100), (4, 0.5, 50),
    ]  # fmt: skip
    table = front_table(run, trials)
    assert table is not None
    assert [column.header for column in table.columns] == ["trial", "accuracy", "weights", "x"]
    assert table.row_count == 3
    keep_best(run, trials, tmp_path)
    assert json.loads((tmp_path / "best.json").read_text())["front"] == json.loads(json.dumps(facts["front"]))
    names: dict[str, Any] = {}
    exec((tmp_path / "best.py").read_text(), names)  # a file that the user imports
    assert names["FRONT"][1][:2] == (0.8, 100.0)

    alone = make_run()
    assert front_facts(alone, trials) == {}
    assert front_table(alone, trials) is None
    assert front_table(run, []) is None
    assert evenly([1, 2, 3, 4, 5, 6, 7], 3) == [1, 4, 7]
