"""What a user sees: plain lines in a pipe, a live view in a terminal, a table at the end, no surprises in names."""

import io
import re
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from rich.console import Console

from analysis.impact.stopping import audit
from analysis.studies.trials import read_trials
from search.process.silence import current
from search.process.text import counted, duration, printable
from search.session.console import SearchConsole, describe_skipped, summarise
from search.session.live import sparkline
from search.session.training_console import TrainingConsole
from search.storage.run import Planned
from tests.ledgers import make, make_run


def follow(*, terminal: bool = False, width: int = 80) -> tuple[SearchConsole, io.StringIO, Console]:
    said = io.StringIO()
    console = Console(file=said, force_terminal=terminal, width=width, highlight=False, color_system=None)
    return SearchConsole(make_run(), console=console), said, console


def test_a_pipe_gets_one_plain_line_for_each_pause_and_each_end():
    follower, said, _ = follow()
    with follower.following([]):
        running = make(0, TrialState.RUNNING, [0.5])
        follower.started(make(0, TrialState.RUNNING, []))
        follower.epoch(running, {"epoch": 1})
        follower.paused(running)
        follower.started(running)
        follower.ended(make(0, TrialState.COMPLETE, [0.5] * 8 + [0.75]))
    lines = said.getvalue().splitlines()
    assert [line.split("  ")[-1] for line in lines] == [
        "trial 0 paused at epoch 1, accuracy 0.5000",
        "trial 0 finished at epoch 9, accuracy 0.7500 (best 0.7500, trial 0)",
    ]
    assert "\x1b" not in said.getvalue()


@pytest.mark.parametrize(("quiet", "speaks"), [(7, False), (9, True)])
@pytest.mark.parametrize("elapsed", [30, 9e4])
def test_a_pipe_hears_of_the_epochs_every_few_seconds_however_long_the_search(
    elapsed: float, quiet: float, *, speaks: bool
):
    search, said, _ = follow()
    trial = make(3, TrialState.RUNNING, [0.5, 0.6])
    search.started(trial)
    search._began, search._last_line = search._began - elapsed, search._began - quiet
    search.epoch(trial, {})
    search.epoch(trial, {})
    assert said.getvalue().count("trial 3 is at epoch 2; 1 of ") == speaks


def test_what_a_search_is_doing_in_a_long_epoch_and_before_the_first_one_can_be_said_at_any_time():
    follower, _, _ = follow()
    with follower.following([]):
        assert (
            current(0)
            == "     0s  starting Ray and its workers; 0 of 30 trials started, 0 finished, 0 paused or stopped"
        )
        follower.started(make(3, TrialState.RUNNING, [0.5]))
        follower.started(make(4, TrialState.RUNNING, []))
        follower._since[3] -= 75
        assert (
            current(0)
            == "     0s  trial 3 is in epoch 2 for 1m15s; 2 of 30 trials started, 0 finished, 0 paused or stopped"
        )
        follower.epoch(make(3, TrialState.RUNNING, [0.5, 0.6]), {})
        follower._since[4] -= 20
        assert current(0).startswith("     0s  trial 4 is in epoch 1 for 20s; ")
    assert current(0) == "working: 0s so far"


def test_a_failure_is_told_at_once_with_its_cause_and_without_control_characters():
    follower, said, _ = follow()
    with follower.following([]):
        follower.started(make(3, TrialState.RUNNING, []))
        follower.ended(make(3, TrialState.FAIL, [], failure="bad \x1b[31m[red]\x07 thing"))
    assert said.getvalue().strip().endswith("trial 3 failed: bad  [31m[red]  thing")


def test_trainings_on_fresh_seeds_are_named_by_configuration_and_seed_and_show_what_they_report():
    plan = tuple(Planned(params={}, seed=1, tag=tag) for tag in ("trial-7/0", "random/0", "baseline/1", "wide"))
    records = [{"epoch": 9, "f1": 0.5, "val_loss": 0.25}, {"epoch": 9, "seconds": 1.0, "f1": 0.5}, {"epoch": 9}, {}]
    out = io.StringIO()
    run = replace(make_run(), trials=4, plan=plan, metric="epoch")
    follower = TrainingConsole(run, metric="val_loss", console=Console(file=out, width=200, color_system=None))
    with follower.following([]):
        for number, record in enumerate(records):
            follower.started(make(number, TrialState.RUNNING, []))
            follower.ended(make(number, TrialState.COMPLETE, [*range(1, 10)], history=[record]))
        follower.started(make(3, TrialState.RUNNING, []))
        follower.ended(make(3, TrialState.FAIL, [], failure="RuntimeError: my bug"))
    assert [line.split("  ")[-1] for line in out.getvalue().splitlines()] == [
        "trial 7 with seed 1 finished at epoch 9, val_loss 0.2500; 1 of 4 trained",
        "random configuration with seed 1 finished at epoch 9, f1 0.5000; 2 of 4 trained",
        "baseline with seed 2 finished at epoch 9; 3 of 4 trained",
        "wide finished at epoch 9; 4 of 4 trained",
        "wide failed: RuntimeError: my bug",
    ]


def test_a_terminal_shows_the_trainings_that_run_and_no_best_of_them():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=60, color_system=None)
    run = replace(make_run(), trials=2, plan=(Planned(params={}, seed=1, tag="trial-7/0"),), metric="epoch")
    follower = TrainingConsole(run, metric="val_loss", console=console)
    follower.started(make(0, TrialState.RUNNING, [1.0], history=[{"epoch": 1, "val_loss": 0.25}]))
    console.print(follower._render())
    assert "0 of 2 trained" in out.getvalue()
    assert "best" not in out.getvalue()
    assert re.search(r"trial 7 with seed 1 +1/9 +0.2500", out.getvalue())


def test_an_interrupted_search_does_not_count_unfinished_epochs_as_saved():
    out = io.StringIO()
    summarise(make_run(), [make(0, TrialState.RUNNING, [0.5])], console=Console(file=out, width=200))
    assert "0 failed, 1 unfinished; 1 epoch trained\n" in out.getvalue()
    summarise(make_run(), [make(0, TrialState.PRUNED, [0.5])], console=Console(file=out, width=200))
    assert "0 failed; 1 epoch trained, 89 % fewer than without early stopping\n" in out.getvalue()


def test_what_a_failed_trial_lacks_is_not_saved_in_the_terminal_and_on_the_page():
    ends = [(TrialState.COMPLETE, 9), (TrialState.PRUNED, 3), (TrialState.FAIL, 2), (TrialState.FAIL, 0)]
    trials = [make(number, state, [0.5] * epochs) for number, (state, epochs) in enumerate(ends)]
    trials.append(make(4, TrialState.PRUNED, [], infeasible="weights exceeds its bound by 5"))
    out = io.StringIO()
    summarise(make_run(), trials, console=Console(file=out, width=200))
    assert "14 epochs trained, 33 % fewer than without early stopping\n" in out.getvalue()
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials)
    assert audit(read_trials(study, make_run())).saved == pytest.approx(1 - 12 / 18)


@pytest.mark.parametrize(
    ("kind", "said"),
    [("error", "; traceback: "), ("invalid", "; traceback: "), ("diverged", "; log: "), ("timeout", "; log: ")],
)
def test_a_failure_names_the_log_of_its_trial_if_there_is_one(kind: str, said: str, tmp_path: Path):
    out = io.StringIO()
    follower = SearchConsole(make_run(), console=Console(file=out, width=80), logs=tmp_path)
    (tmp_path / "trial-00012.log").write_text("Traceback")
    with follower.following([]):
        for number in (12, 13):
            follower.started(make(number, TrialState.RUNNING, []))
            follower.ended(make(number, TrialState.FAIL, [], failure="RuntimeError: my bug", failure_kind=kind))
    first, second = out.getvalue().splitlines()
    assert first.endswith(f"trial 12 failed: RuntimeError: my bug{said}{tmp_path}/trial-00012.log")
    assert second.endswith("trial 13 failed with the same error")


@pytest.mark.parametrize(
    ("infeasible", "tried", "said"),
    [
        (
            [1, 3],
            [0, 2, 4],
            (
                "2 sampled configurations were too large and were skipped; skipped configurations are numbered too, "
                "so the 3"
            ),
        ),
        ([2, 3], [0, 1], "2 sampled configurations were too large and were skipped"),
    ],
)
def test_the_summary_explains_numbers_above_the_number_of_trials(infeasible: list[int], tried: list[int], said: str):
    trials = [make(n, TrialState.PRUNED, [], infeasible="weights exceeds its bound by 5") for n in infeasible]
    trials += [make(n, TrialState.PRUNED, [0.5]) for n in tried]
    told = describe_skipped(trials)
    assert told == said or (told.startswith(said) and told.endswith("trials have numbers up to 4"))


def test_only_a_finished_trial_is_the_best():
    follower, said, _ = follow()
    with follower.following([make(0, TrialState.PRUNED, [0.99]), make(1, TrialState.COMPLETE, [0.6] * 9)]):
        follower.started(make(2, TrialState.RUNNING, []))
        follower.paused(make(2, TrialState.RUNNING, [0.7]))
    assert "(best 0.6000, trial 1)" in said.getvalue()


@pytest.mark.parametrize("width", [30, 80, 200])
def test_the_live_view_fits_the_terminal(width: int):
    follower, _, _ = follow(terminal=True, width=width)
    follower.following([])
    for number in range(20):
        follower.started(make(number, TrialState.RUNNING, []))
        follower.epoch(make(number, TrialState.RUNNING, [0.5]), {"epoch": 1})
    drawn = io.StringIO()
    Console(file=drawn, width=width).print(follower._render())
    text = drawn.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "and 8 more" in text
    assert "20 of 30" in " ".join(text.split())


def drawn(follower: SearchConsole, *, width: int, height: int = 30) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, height=height, color_system=None).print(follower._render())
    return out.getvalue().splitlines()


def half_way() -> SearchConsole:
    """A search with nine trials that have ended, and two that are running."""
    follower, _, _ = follow(terminal=True)
    for number in range(11):
        trial = make(
            number, TrialState.COMPLETE if number < 6 else TrialState.PRUNED, [0.1 * number] * (9 - number // 2)
        )
        trial.params = {"lr": 0.001 * (number + 1), "activation": "relu" if number % 2 else "a very long name of one"}
        if number > 8:
            trial.state, trial.values = TrialState.RUNNING, None
            follower.started(trial)
        follower._trials[number] = trial
        follower._consider(trial)
    return follower


def test_the_live_view_shows_the_best_five_with_their_parameters_the_rungs_and_what_runs():
    lines = drawn(half_way(), width=100)
    text = "\n".join(lines)
    assert lines[1].startswith("best so far: accuracy 0.5000 (trial 5)")
    assert lines[1].endswith("▁▂▄▅▇█")
    assert "trials that reached epoch 1: 11, 3: 11, 9: 2" in text
    table = [line.split() for line in lines if line.strip()][-8:]
    assert table[0] == ["trial", "accuracy", "epoch", "lr", "activation"]
    assert [row[0] for row in table[1:]] == ["1", "0", "3", "2", "5", "9", "10"]
    assert table[1] == ["1", "0.1000", "9/9", "finished", "0.002", "relu"]
    assert table[2][-4:] == ["0.001", "a", "very", "long..."]
    assert [row[3] for row in table[-2:]] == ["running", "running"]


@pytest.mark.parametrize(("width", "names"), [(34, []), (45, ["lr"]), (100, ["lr", "activation"])])
def test_the_live_view_has_as_many_parameters_as_the_terminal_has_room_for(width: int, names: list[str]):
    lines = drawn(half_way(), width=width)
    assert max(map(len, lines)) <= width
    head = next(line for line in lines if line.split()[:1] == ["trial"])
    assert head.split()[3:] == names


def test_a_low_terminal_shows_fewer_of_the_running_trials():
    follower = half_way()
    for number in range(20, 40):
        follower.started(make(number, TrialState.RUNNING, [0.5]))
    lines = drawn(follower, width=80, height=24)
    assert len(lines) < 24
    assert re.fullmatch(r"and \d+ more running", lines[-1])


@pytest.mark.parametrize(
    ("values", "bars"), [([], ""), ([2.0, 2.0], ""), ([1, 2, 3, 8], "▁▂▃█"), ([3, 1], "█▁"), (range(100), None)]
)
def test_a_sparkline_has_a_bar_for_each_value_as_long_as_there_is_room(values: list[float], bars: str | None):
    drawn = sparkline(values)
    assert drawn == bars or (len(drawn), drawn[0], drawn[-1]) == (24, "▁", "█")


def test_the_table_at_the_end_ranks_by_epochs_before_values():
    said = io.StringIO()
    trials = [
        make(0, TrialState.PRUNED, [0.9], weights=1000),
        make(1, TrialState.COMPLETE, [0.6] * 9, weights=2_000_000),
        make(2, TrialState.FAIL, [], failure="RuntimeError: x"),
        make(3, TrialState.PRUNED, [], infeasible="weights exceeds its bound by 5"),
        make(4, TrialState.RUNNING, [0.1]),
    ]
    summarise(make_run(), trials, console=Console(file=said, width=100, highlight=False))
    text = said.getvalue()
    rows = [line.split() for line in text.splitlines()]
    assert rows[1] == ["1", "0.6000", "9/9", "finished", "2,000,000"]
    assert rows[2] == ["0", "0.9000", "1/9", "stopped", "early", "1,000"]
    assert "4 trials: 1 finished, 1 stopped early, 1 failed, 1 unfinished; 11 epochs trained" in text
    assert (
        "1 sampled configuration was too large and was skipped; skipped configurations are numbered too, so the 4 "
        "trials have numbers up to 4" in text
    )
    assert "failed 1x: RuntimeError: x" in text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (59.6, "1m00s"), (125, "2m05s"), (7260, "2h01m")])
def test_durations_are_read_at_a_glance(seconds: float, text: str):
    assert duration(seconds) == text


def test_a_number_agrees_with_its_noun():
    assert [counted(number, "trial") for number in (0, 1, 1_200)] == ["0 trials", "1 trial", "1,200 trials"]
    assert counted(2, "class", plural="classes") == "2 classes"


def test_what_is_printed_cannot_move_the_cursor():
    assert printable("a\x1b[2Jb\rc\nd") == "a [2Jb c d"
