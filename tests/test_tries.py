"""--try: configurations of the user's own, read from files and trained after the baseline; best.json and best.py."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import spaces.space
from rungwise.process import flags
from search.process.arguments import parse
from search.scheduling.constraints import Examination
from search.session.bestfiles import keep_best
from search.session.checks import check
from search.session.options import Options
from search.session.tries import read_tries, with_plan
from search.storage.run import Question, read_run
from search.storage.study import open_study
from tests.ledgers import make_run
from tests.stored import stored_search

SPACE = spaces.space.load("digits_arch")


def write(folder: Path, content: Any) -> str:
    path = folder / "own.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def planned(folder: Path, content: Any, **changes: Any) -> list[dict[str, Any]]:
    run = make_run(baseline=dict(SPACE.baseline), **changes)
    asked = with_plan(run, SPACE, lambda _: Examination(), tries=[write(folder, content)])
    return [dict(one.params) for one in asked.plan]


def test_a_configuration_comes_after_the_baseline_which_gives_what_it_leaves_out(tmp_path: Path):
    first, second = planned(tmp_path, {"batch_norm": False, "optimizer": "adamw"})
    assert first == SPACE.baseline
    assert second["batch_norm"] is False
    assert second["depth"] == SPACE.baseline["depth"]
    assert "sgd_lr" not in second, "a parameter that is not used with the others is left out"
    SPACE.decode(second)


def test_several_configurations_and_a_best_json_are_read(tmp_path: Path):
    content = [{"batch_norm": False}, {"params": {"depth": 3}, "value": 0.9, "trial": 7}]
    assert [one["depth"] for one in planned(tmp_path, content)[1:]] == [SPACE.baseline["depth"], 3]
    assert [one.place.endswith(("1", "2")) for one in read_tries([str(tmp_path / "own.json")])] == [True, True]


def test_a_configuration_that_is_planned_already_is_trained_once(tmp_path: Path):
    assert len(planned(tmp_path, [dict(SPACE.baseline), {"batch_norm": False}, {"batch_norm": False}])) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "own.json is not JSON"),
        ([], "contains no configuration"),
        ([1], "must be an object such as"),
        ({}, "must be an object such as"),
        ({"depth": [1, 2]}, "depth must be a number, a text, true, false or null"),
        ({"depth": 99}, r"depth must lie in \d\.\.\d, got 99"),
        ({"depth": True}, r"depth must lie in \d\.\.\d, got True"),
        ({"dept": 2}, "dept is no parameter of the space .did you mean depth"),
        ({"adamw_lr": 0.01}, "adamw_lr is not used with the other values"),
        ([{"depth": 2}, {"depth": 99}], "own.json, configuration 2: depth"),
        ('{"depth": NaN}', "depth must be a number"),
    ],
)
def test_what_is_no_configuration_is_refused_in_one_line(tmp_path: Path, content: Any, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        planned(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_other_options_win_and_say_so(tmp_path: Path):
    fixed = r"depth must be 2, as --fix and --question say, got 3"
    with pytest.raises(ValueError, match=fixed):
        planned(tmp_path, {"depth": 3}, fixed={"depth": 2})
    asked = (Question(parameter="batch_norm", levels=(True,)), Question(parameter="depth", levels=(1, 2)))
    with pytest.raises(ValueError, match="depth must be 1 or 2"):
        planned(tmp_path, {"depth": 3}, questions=asked)
    with pytest.raises(ValueError, match="--trials must be at least 3, with the baseline and --try, got 2"):
        planned(tmp_path, [{"depth": 3}, {"depth": 1}], trials=2)
    large = with_plan(make_run(baseline=dict(SPACE.baseline)), SPACE, lambda _: Examination(), tries=[])
    with pytest.raises(ValueError, match=r"own.json: weights exceeds its bound by 1"):
        with_plan(large, SPACE, _refuses_others, tries=[write(tmp_path, {"depth": 3})])


def _refuses_others(config: Any) -> Examination:
    is_baseline = config == SPACE.decode(SPACE.baseline)
    return Examination() if is_baseline else Examination(excess={"weights": 1.0})


def test_the_option_is_checked_at_once_and_only_for_a_new_run(tmp_path: Path):
    with pytest.raises(ValueError, match=re.escape("gone.json cannot be read (No such file or directory)")):
        check(parse(Options, ["--try", str(tmp_path / "gone.json")], prog="x"))
    with pytest.raises(ValueError, match="--try is for a new run"):
        check(parse(Options, ["--try", write(tmp_path, {"depth": 2}), "--resume", "--name", "x"], prog="x"))
    assert parse(Options, ["--try", "a", "--try", "b"], prog="x").tries == ("a", "b")
    assert flags({"tries": ["a", "b"]}) == ["--try", "a", "--try", "b"]


def test_the_best_of_a_run_can_be_tried_and_pasted(tmp_path: Path):
    folder = stored_search(tmp_path, "--name", "x", "--trials", "3", "--train-size", "60", "--max-epochs", "3")
    keep_best(read_run(folder), open_study(folder).trials, folder)
    best = json.loads((folder / "best.json").read_text())
    assert (best["trial"], best["metric"], best["value"], best["epochs"]) == (0, "accuracy", 0.5, 3)
    pasted: dict[str, Any] = {}
    exec((folder / "best.py").read_text(), pasted)
    assert pasted["SEED"] == best["seed"] == open_study(folder).trials[0].user_attrs["seed"]
    assert pasted["PARAMS"] == best["params"] == SPACE.baseline
    assert read_tries([str(folder / "best.json")])[0].params == SPACE.baseline


def test_nothing_is_written_before_a_trial_is_finished(tmp_path: Path):
    keep_best(make_run(), [], tmp_path)
    assert list(tmp_path.iterdir()) == []
