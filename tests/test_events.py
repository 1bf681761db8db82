"""events.jsonl: every line has its schema, the study's events are in it once, and a killed search loses none."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from search.session.story import Story
from search.storage.events import COMMON, FILE, SCHEMA, EventFile, check_event, finite, read_events
from tests.benches import Bench
from tests.disks import read_only
from tests.ledgers import enqueue
from tests.searching import ROOT
from tests.stories import check_story


def names(events: list[dict[str, Any]]) -> list[str]:
    return [line["event"] for line in events]


def test_a_search_tells_what_happens_in_order(tmp_path: Path):
    bench = Bench(tmp_path, story=True, trials=6)
    bench.train()
    bench.search._events.stopped(bench.search, None)  # type: ignore[attr-defined]
    events = check_story(tmp_path)
    assert names(events)[:3] == ["search_started", "trial_started", "epoch_reported"]
    assert (events[0]["rungs"], events[0]["pruner"], events[1]["tag"]) == ([1, 3, 9], "asha", "baseline")
    assert {"trial_paused", "trial_promoted", "trial_pruned", "trial_finished", "best_changed"} <= set(names(events))
    assert names(events)[-1] == "search_stopped"
    assert (events[-1]["reason"], events[-1]["detail"], events[-1]["trials"]) == ("finished", None, 6)
    assert not [line for line in events if line["recovered"]]
    for line in (one for one in events if one["event"] == "trial_promoted"):
        before = names(events)[: line["number"]]
        assert "trial_paused" in before
    assert all(line["metrics"] == {"accuracy": line["value"], "seconds": 0.1} for line in events if "metrics" in line)


def _cut(folder: Path, size: int) -> None:
    path = folder / FILE
    path.write_bytes(path.read_bytes()[: -size or None])


@pytest.mark.parametrize("lost", [0, 1, 30, 700])
def test_what_a_killed_search_did_not_append_is_appended_by_the_next_one(tmp_path: Path, lost: int):
    first = Bench(tmp_path, story=True, trials=6)
    for _ in range(4):
        trial, leg = first.ask()  # type: ignore[misc]
        epoch = leg["reported"] + 1
        while first.epoch(trial, epoch, leg["params"]["lr"] + 0.001 * epoch):
            epoch += 1
    _cut(tmp_path, lost)
    again = Bench(tmp_path, story=True, trials=6)
    told = read_events(tmp_path)
    assert told[-1]["event"] == "search_resumed"
    assert [line["recovered"] for line in told[-2:-1]] == [lost > 0]
    again.train()
    check_story(tmp_path)


def test_a_file_that_tells_more_than_the_study_is_written_again(tmp_path: Path):
    """The study was restored from an older copy: other trials get the numbers of those that it lacks."""
    first = Bench(tmp_path, story=True, trials=4)
    first.train()
    params = {"lr": 0.5}
    EventFile(tmp_path).append("trial_started", trial=4, params=params, seed=1, tag=None)
    again = Bench(tmp_path, story=True, trials=6)
    told = read_events(tmp_path)
    assert all(line["recovered"] for line in told[:-1])
    assert params not in [line.get("params") for line in told]
    again.train()
    check_story(tmp_path)


@pytest.mark.parametrize("point", [*(f"event:{n}" for n in range(1, 28, 4)), "reported:5", "recorded:4", "sampled:3"])
def test_a_search_that_dies_between_two_writes_is_told_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
):
    monkeypatch.setenv("RUNGWISE_FAULT", f"{point}:raise")
    first = Bench(tmp_path, story=True, trials=5)
    first.train()
    assert str(first.search.fatal) == "an injected fault"
    if point.startswith("event"):  # a killed search would not have told what followed
        path = tmp_path / FILE
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[: int(point[6:])]))
    monkeypatch.delenv("RUNGWISE_FAULT")
    Bench(tmp_path, story=True, trials=5).train()
    events = check_story(tmp_path)
    assert "search_resumed" in names(events)


def test_a_run_of_an_older_release_gets_the_events_of_its_study(tmp_path: Path):
    Bench(tmp_path, trials=4).train()
    assert not (tmp_path / FILE).exists()
    Bench(tmp_path, story=True, trials=6).train()
    events = check_story(tmp_path)
    assert events[0]["event"] == "search_started"
    assert events[0]["recovered"]
    assert names(events).count("search_resumed") == 1


def test_an_enqueued_trial_that_is_refused_is_told_at_the_end(tmp_path: Path):
    Bench(tmp_path, story=True, trials=1).train()
    enqueue(tmp_path, {"lr": 99.0})
    bench = Bench(tmp_path, story=True, trials=1)
    bench.train()
    bench.search._events.stopped(bench.search, None)  # type: ignore[attr-defined]
    (failed,) = [line for line in check_story(tmp_path) if line["event"] == "trial_failed"]
    assert (failed["trial"], failed["kind"], failed["recovered"]) == (1, "invalid", False)


def test_a_failed_trial_has_its_cause(tmp_path: Path):
    bench = Bench(tmp_path, story=True, trials=3)
    trial, _ = bench.ask()  # type: ignore[misc]
    assert not bench.tell(trial, failure="it broke\nbadly", failure_kind="error")
    (failed,) = [line for line in check_story(tmp_path) if line["event"] == "trial_failed"]
    assert (failed["cause"], failed["kind"], failed["epochs"]) == ("it broke", "error", 0)


@pytest.mark.parametrize(
    "rest", [b"{", b'{"number": 2, "ti', b"\0" * 40, b"\0" * 40 + b"\n", b"[]\n", b'{"number": 9}\n']
)
def test_what_is_no_whole_line_is_removed_before_the_file_continues(tmp_path: Path, rest: bytes):
    file = EventFile(tmp_path)
    for _ in range(2):
        file.append("search_resumed", trials=3)
    file.close()
    whole = (tmp_path / FILE).read_bytes()
    with (tmp_path / FILE).open("ab") as torn:
        torn.write(rest)
    assert len(read_events(tmp_path)) == 2, "a reader sees the whole lines only"
    again = EventFile(tmp_path)
    assert (tmp_path / FILE).read_bytes() == whole
    again.append("search_resumed", trials=4)
    assert [line["number"] for line in read_events(tmp_path)] == [0, 1, 2]


def test_a_file_that_cannot_be_written_does_not_end_the_search(tmp_path: Path):
    inside = tmp_path / "in"
    inside.mkdir()
    bench = Bench(inside, story=True, trials=2)
    with read_only(inside) as view:
        story = Story(bench.run, view, events=bench.diary)
        story.begin([])
        story.stopped(bench.search, 15)
    (notice,) = bench.diary.notices
    assert notice == (
        "events.jsonl cannot be written (Read-only file system); the search goes on, and a resume completes it"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"event": "trial_lost"}, r"unknown event 'trial_lost'"),
        ({"trial": -1}, r"trial of trial_paused must be a count, got -1"),
        ({"trial": True}, r"trial of trial_paused must be a count, got True"),
        ({"epoch": 1.5}, r"epoch of trial_paused must be a count, got 1.5"),
        ({"time": None}, r"time of trial_paused must be a text, got None"),
        ({"recovered": 0}, r"recovered of trial_paused must be a flag, got 0"),
        ({"more": 1}, r"trial_paused must have the fields number, time, event, recovered, trial, epoch, got"),
    ],
)
def test_a_line_of_another_form_is_refused(change: dict[str, Any], message: str):
    line = {"number": 0, "time": "t", "event": "trial_paused", "recovered": False, "trial": 1, "epoch": 3}
    check_event(line)
    with pytest.raises(ValueError, match=message):
        check_event(line | change)


def test_values_that_json_lacks_are_null():
    assert [finite(value) for value in (1, 0.5, float("inf"), float("nan"), True, "x")] == [
        1,
        0.5,
        None,
        None,
        None,
        None,
    ]
    json.dumps({"value": finite(float("-inf"))}, allow_nan=False)


def test_the_reference_describes_every_event_and_every_field():
    page = (ROOT / "docs" / "reference" / "events.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", page, re.MULTILINE))
    assert {event: re.findall(r"`(\w+)`", rows[event]) for event in SCHEMA} == {e: list(f) for e, f in SCHEMA.items()}
    assert set(COMMON) <= set(rows)
