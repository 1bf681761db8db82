"""Printing that never waits for its reader: pipes that nobody reads, for a while or for ever."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from optuna.trial import TrialState

from search.process.output import DRAIN_SECONDS, PatientStream, print_patiently
from search.process.signals import collect_signals, raise_stopped, signals_restored
from search.session.console import CalmLive, Output, SearchConsole, summarise
from tests.ledgers import make, make_run
from tests.searching import ROOT, patience

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sets the size of a pipe")
Pipe = tuple[int, PatientStream]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """The end that nobody reads yet, and a stream into the other: 4 kB fit."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    yield reader, PatientStream(writer)
    for end in (reader, writer):
        os.close(end)


def read_all(reader: int, stream: PatientStream) -> str:
    """What arrives once somebody reads."""
    parts: list[bytes] = []

    def read() -> None:
        while not b"".join(parts).endswith(b"the end\n"):
            parts.append(os.read(reader, 65536))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    stream.write("the end\n")
    assert stream.drain(seconds=60)
    thread.join(timeout=60)
    return b"".join(parts).decode()


def test_a_search_goes_on_though_nobody_reads_and_its_table_is_there_for_who_reads_later(pipe: Pipe):
    reader, stream = pipe
    run, console = make_run(), Output(stream)
    follower = SearchConsole(run, console=console)
    trials = [make(number, TrialState.COMPLETE, [0.5] * 9) for number in range(3000)]
    with follower.following([]):
        for trial in trials:
            follower.started(trial)
            follower.ended(trial)
    summarise(run, trials, console=console)
    console.print("resume with: python -m search.run --resume --name x", soft_wrap=True)
    said = read_all(reader, stream)
    assert "trial 0 finished" in said
    assert "trial 1500 finished" not in said
    assert "trial 2999 finished" in said
    assert "lines of output were dropped because nothing read them)" in said
    assert "3,000 trials: 3,000 finished" in said
    assert said.endswith("resume with: python -m search.run --resume --name x\nthe end\n")


def test_what_is_dropped_is_counted_to_the_line(pipe: Pipe):
    reader, stream = pipe
    for number in range(5000):
        stream.write(f"line {number:04d}\n")
    lines = read_all(reader, stream).splitlines()
    told = [int(line[1:].split()[0]) for line in lines if "dropped" in line]
    kept = [line for line in lines if line.startswith("line")]
    assert sum(told) + len(kept) == 5000
    assert sum(told) > 3000
    assert kept[-1] == "line 4999"


def test_a_reader_that_is_only_slow_gets_every_line(pipe: Pipe):
    reader, stream = pipe
    for number in range(900):
        print(f"{number}", end="", file=stream)
        print(file=stream)
    assert read_all(reader, stream).splitlines() == [*map(str, range(900)), "the end"]


def test_a_line_that_is_not_finished_arrives_when_it_is_flushed(pipe: Pipe):
    reader, stream = pipe
    stream.write("so far ")
    stream.flush()
    assert os.read(reader, 100) == b"so far "


def test_an_end_that_nobody_reads_is_not_waited_for(pipe: Pipe):
    _, stream = pipe
    stream.write("x" * 10_000 + "\n")
    began = time.monotonic()
    assert not stream.drain(seconds=0.2)
    assert 0.1 < time.monotonic() - began < 30


def test_a_signal_is_noted_at_once_while_nobody_reads(pipe: Pipe):
    _, stream = pipe
    told: list[None] = []
    with signals_restored():
        raise_stopped()
        received = collect_signals(lambda: told.append(None))
        stream.write("x" * 10_000 + "\n")
        signal.raise_signal(signal.SIGTERM)
        stream.write("stopped\n")
        assert received == [signal.SIGTERM]
        assert len(told) == 1
        raise_stopped()


def test_a_reader_that_is_gone_is_told_once_and_then_nothing_fails(pipe: Pipe):
    reader, writer = os.pipe()
    stream = PatientStream(writer)
    os.close(reader)
    stream.write("one\n")
    assert stream.drain(seconds=60)
    with pytest.raises(BrokenPipeError, match="nothing reads the output any more"):
        stream.write("two\n")
    stream.write("three\n")
    os.close(writer)


def test_a_full_disk_under_the_log_stops_nothing():
    full = os.open("/dev/full", os.O_WRONLY)
    stream = PatientStream(full)
    for _ in range(3):
        stream.write("lost\n")
    assert stream.drain(seconds=60)
    os.close(full)


def test_a_terminal_that_stands_still_is_drawn_no_more_pictures(pipe: Pipe):
    reader, stream = pipe
    console = Output(stream)
    console._force_terminal = True
    drawn: list[int] = []

    def render() -> str:
        drawn.append(1)
        return "picture " * 100

    live = CalmLive(get_renderable=render, console=console, auto_refresh=False, transient=True)
    live.start()
    stream.write("x" * 10_000 + "\n")
    before = len(drawn)
    for _ in range(100):
        live.refresh()
    assert len(drawn) == before
    assert "x" * 10_000 in read_all(reader, stream)
    live.refresh()
    assert len(drawn) > before
    stream.drain(seconds=0.1)


CLOSED = """
import json, os, sys
from pathlib import Path
from search.process.arguments import leave
from search.storage.lock import RunLock
from search.run import main
code = main(sys.argv[1:])
with RunLock(Path(os.environ["HERE"])) as lock:
    held = lock._file
places = [os.readlink(f"/proc/self/fd/{number}") for number in range(3)]
Path(os.environ["HERE"], "found.json").write_text(json.dumps([code, held, places]))
print("said")
print("said", file=sys.stderr)
leave(code)
"""


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "0<&-", "1>&- 2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams_change_no_exit_code_and_their_descriptors_are_taken_by_nothing(closed: str, tmp_path):
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" --space nope {closed}', sys.executable, CLOSED],
        cwd=ROOT, env={**os.environ, "HERE": str(tmp_path)}, stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    code, held, places = json.loads((tmp_path / "found.json").read_text())
    assert code == 2
    assert held > 2
    for number in range(3):
        if f"{number}>&-" in closed or f"{number}<&-" in closed:
            assert places[number] == "/dev/null"
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "module", ["search.run", "search.doctor", "analysis.final", "analysis.report", "analysis.predict"]
)
def test_help_into_nothing_is_a_success(module: str):
    words = ["sh", "-c", f'exec "$0" -m {module} --help >&- 2>&-', sys.executable]
    assert subprocess.run(words, cwd=ROOT, check=False).returncode == 0


def test_output_collected_by_somebody_else_is_left_to_him(capsys: pytest.CaptureFixture[str]):
    stream = sys.stdout
    print_patiently()
    assert sys.stdout is stream


def test_lines_to_both_streams_keep_their_order():
    program = (
        "import sys; from search.process.output import print_patiently, drain_all; print_patiently()\n"
        "for number in range(0, 100, 2): print(number); print(number + 1, file=sys.stderr)\n"
        "drain_all()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [*map(str, range(100))]


def test_a_command_ends_with_its_code_soon_though_nobody_reads_what_is_left():
    program = (
        "from search.process.output import print_patiently\nfrom search.process.arguments import leave\n"
        "print_patiently()\n"
        "print(2_000_000 * 'x'); leave(7)"
    )
    reader, writer = os.pipe()
    began = time.monotonic()
    code = subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=writer, check=False).returncode
    assert code == 7
    assert DRAIN_SECONDS < time.monotonic() - began < DRAIN_SECONDS + patience(4), "it waits once"
    for end in (reader, writer):
        os.close(end)


WORKS = """
import sys
from pathlib import Path
from search.process.arguments import run_command

def main(words):
    for number in range(int(words[1])):
        print("line", number, flush=number % 2 == 0)
    Path(words[0]).write_text("done")
    return int(words[2])

run_command(main)
"""


@pytest.mark.parametrize(("lines", "code", "expected"), [(1, 0, 1), (50_000, 0, 1), (1, 3, 3)])
def test_a_full_disk_under_the_output_is_said_at_the_end_and_breaks_nothing_off(tmp_path, lines, code, expected):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-c", WORKS, str(tmp_path / "out"), str(lines), str(code)]
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=60, check=False
        )
    assert (tmp_path / "out").read_text() == "done"
    assert done.returncode == expected
    assert done.stderr == "error: the output of this command cannot be written (No space left on device)\n"


@pytest.mark.parametrize("lines", [1, 50_000])
def test_a_reader_that_has_seen_enough_breaks_nothing_off_and_is_no_error(tmp_path, lines):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", WORKS, str(tmp_path / "out"), str(lines), "0"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=60, check=False)
    os.close(writing)
    assert (tmp_path / "out").read_text() == "done"
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_character_that_the_output_lacks_is_escaped_and_breaks_nothing_off(encoding: str):
    program = (
        "from search.process.arguments import run_command\n"
        "run_command(lambda words: print('caf\\u00e9', '\\u732b', '\\udce9') or 0, [])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    lost = {"ascii": "caf\\xe9 \\u732b \\udce9", "latin-1": "café \\u732b \\udce9", "utf-8": "café 猫 \\udce9"}
    assert done.stdout.decode(encoding) == lost[encoding] + "\n"
