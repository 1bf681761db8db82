"""What a trial prints, from Python and from C, and the logs that a run keeps of it."""

import ctypes
import logging
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.execution import capture
from search.execution.capture import Capture
from search.process.text import visible
from search.storage.logs import KEPT_BYTES, MAX_BYTES, TrialLogs, log_path, shorten
from tests.searching import ROOT


@pytest.fixture
def collected(tmp_path: Path) -> Iterator[Capture]:
    collected = Capture(tmp_path)
    collected.begin("trial-00003")
    yield collected
    collected.end()


def print_in_python() -> None:
    print("said aloud")


def print_an_error() -> None:
    print("said aloud", file=sys.stderr)


def print_without_a_newline() -> None:
    sys.stdout.write("said aloud")


def print_in_c() -> None:
    ctypes.CDLL(None).printf(b"said aloud\n")


def write_to_the_descriptor() -> None:
    os.write(2, b"said aloud\n")


def log_a_warning() -> None:
    assert logging.lastResort is not None  # what prints where nobody has set up logging; pytest has
    logging.lastResort.handle(logging.makeLogRecord({"msg": "said aloud", "levelno": logging.WARNING}))


def print_in_a_process() -> None:
    subprocess.run([sys.executable, "-c", "print('said aloud')"], check=True)


@pytest.mark.parametrize(
    "say",
    [
        print_in_python,
        print_an_error,
        print_without_a_newline,
        print_in_c,
        write_to_the_descriptor,
        log_a_warning,
        print_in_a_process,
    ],
)
def test_all_that_is_printed_is_collected_and_nothing_else_is(say, collected: Capture, capfd: pytest.CaptureFixture):
    print("before")
    with collected.captured():
        say()
    print("after")
    assert "said aloud" in collected.take()
    assert collected.take() == ""
    assert capfd.readouterr() == ("before\nafter\n", "")


def print_and_fail() -> None:
    print("one")
    print("two", file=sys.stderr)
    os.write(1, b"three\n")
    raise RuntimeError("mine")


def test_what_is_printed_stays_in_its_order_and_survives_an_exception(collected: Capture):
    with pytest.raises(RuntimeError, match="mine"), collected.captured():
        print_and_fail()
    assert collected.take() == "one\ntwo\nthree\n"


def test_a_stream_that_outlives_its_epoch_goes_on_in_the_next_one(collected: Capture):
    with collected.captured():
        stream = sys.stdout
    collected.begin("trial-00004")
    with collected.captured():
        print("late", file=stream)
    assert collected.take() == "late\n"


def test_bytes_that_are_no_text_and_half_a_character_do_no_harm(collected: Capture):
    with collected.captured():
        os.write(1, b"\xff\xfe\x00 \xc3")
        print("\ud800")
    assert collected.take() == "��\x00 �\\ud800\n"


def test_a_long_text_keeps_both_ends_and_says_how_much_is_missing(collected: Capture):
    with collected.captured():
        print("first")
        print("x" * 10**6)
        print("last")
    text = collected.take()
    assert text.startswith("first\nx")
    assert text.endswith("x\nlast\n")
    assert f"[... {10**6 + 12 - 2 * KEPT_BYTES:,} bytes left out ...]" in text
    assert len(text) < 2 * KEPT_BYTES + 100
    assert shorten(b"short", each=3) == b"short"


def test_an_epoch_that_prints_without_end_fills_no_disk(
    collected: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(capture, "SPOOL_BYTES", 10**6)
    monkeypatch.setattr(capture, "_LOOK_SECONDS", 0.01)
    spool = tmp_path / "trial-00003"
    with collected.captured():
        print("first")
        print("x" * (2 * 10**6))
        deadline = time.monotonic() + 30
        while spool.stat().st_size > 10**6 and time.monotonic() < deadline:
            time.sleep(0.01)
        print("last")
    text = collected.take()
    assert text.startswith("first\n")
    assert text.endswith("last\n")
    assert "bytes left out" in text


def test_a_trial_has_a_log_once_it_has_something_to_say(tmp_path: Path):
    logs = TrialLogs(tmp_path / "logs")
    logs.append(12, "")
    assert logs.find(12) is None
    logs.append(12, "one\n")
    logs.append(12, "two\x1b[31m\n")
    assert logs.find(12) == tmp_path / "logs" / "trial-00012.log"
    assert log_path(tmp_path / "logs", 12).read_text() == "one\ntwo\x1b[31m\n"


def test_what_a_lost_worker_had_printed_is_taken_over(tmp_path: Path):
    logs = TrialLogs(tmp_path / "logs")
    logs.spool = tmp_path
    (tmp_path / "trial-00007").write_bytes(b"before the end \xff")
    logs.lost(7, "lost its worker (killed, or it crashed); another goes on after epoch 1")
    logs.lost(7, "no progress for 15 s in epoch 2 (--trial-timeout)")
    first, second, third = log_path(tmp_path / "logs", 7).read_text().splitlines()
    assert first == "before the end �"
    assert second.endswith(" UTC, lost its worker (killed, or it crashed); another goes on after epoch 1 ---")
    assert third.endswith(" UTC, no progress for 15 s in epoch 2 (--trial-timeout) ---")


def test_a_log_says_what_is_lost_with_a_worker_of_another_machine(tmp_path: Path):
    TrialLogs(tmp_path).lost(7, "lost its worker (its node is gone); another goes on after epoch 1")
    assert log_path(tmp_path, 7).read_text().endswith("; what it printed since its last report is lost ---\n")


def test_a_log_is_bounded_and_keeps_its_beginning_and_its_end(tmp_path: Path):
    logs = TrialLogs(tmp_path)
    for number in range(60):
        logs.append(0, f"piece {number}\n" + 100_000 * "x" + "\n")
    path = log_path(tmp_path, 0)
    text = path.read_text()
    assert path.stat().st_size <= MAX_BYTES
    assert text.startswith("piece 0\n")
    assert "piece 59\n" in text
    assert text.count("the middle is left out") == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_log_that_cannot_be_written_is_said_once_and_stops_nothing(tmp_path: Path):
    said: list[str] = []
    (tmp_path / "logs").write_text("a file")
    logs = TrialLogs(tmp_path / "logs", say=said.append)
    logs.append(1, "one\n")
    logs.append(2, "two\n")
    assert len(said) == 1
    assert "trial-00001.log cannot be written (" in said[0]


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("loss\t0.1\r\n\r\nend\n", "loss\t0.1\n\nend\n"),
        ("10 %\r 20 %\r\n", "10 %\n 20 %\n"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07\x1b[2J", "\\x1b]0;title\\x07\\x1b[2J"),
        ("\x9b2J\x00\x7f", "\\x9b2J\\x00\\x7f"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("猫\u3000café\xa0½ 🙂", "猫\u3000café\xa0½ 🙂"),
    ],
)
def test_a_log_in_a_terminal_moves_no_cursor_and_sets_no_title(printed: str, shown: str):
    assert visible(printed) == shown


def test_a_terminal_gets_a_log_escaped_and_a_pipe_as_it_is(tmp_path: Path):
    (tmp_path / "x" / "logs").mkdir(parents=True)
    (tmp_path / "x" / "run.json").touch()
    (tmp_path / "x" / "logs" / "trial-00003.log").write_text("a\x1b[2Jb\n")
    words = [sys.executable, "-m", "rungwise.cli", "logs", "x", "3", "--runs-dir", str(tmp_path)]
    assert subprocess.run(words, cwd=ROOT, capture_output=True, check=True).stdout == b"a\x1b[2Jb\n"
    leader, follower = pty.openpty()
    subprocess.run(words, cwd=ROOT, stdout=follower, check=True)
    assert os.read(leader, 100) == b"a\\x1b[2Jb\r\n"
    for end in (leader, follower):
        os.close(end)
