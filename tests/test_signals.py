"""Signals that end a command, sent to this process."""

import contextlib
import hashlib
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from importlib.machinery import ExtensionFileLoader
from pathlib import Path

import pytest

from search.process.signals import (
    SAME_PRESS_SECONDS,
    STOP_SIGNALS,
    Stopped,
    collect_signals,
    first_signal,
    others_overruled,
    raise_noted,
    raise_stopped,
    signals_restored,
    until_stopped,
)
from tests.searching import ROOT


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    with signals_restored():
        raise_stopped()
        yield


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_unwinds_the_command_and_tells_its_exit_code(number: signal.Signals):
    with pytest.raises(Stopped, match=f"stopped by {number.name}") as stop:
        signal.raise_signal(number)
    assert stop.value.code == 128 + number


def test_the_alarm_by_which_ray_would_abort_a_slow_end_is_taken_back():
    signal.alarm(600)
    with pytest.raises(Stopped, match="SIGTERM"):
        signal.raise_signal(signal.SIGTERM)
    assert signal.alarm(0) == 0


def logging_what_it_cannot_close() -> None:
    """As SQLAlchemy does where the exception of a signal passes its cursor."""
    try:
        signal.raise_signal(signal.SIGTERM)
    except BaseException:
        logging.getLogger("library").exception("cannot close")
        raise


def test_a_library_that_logs_what_a_signal_breaks_off_is_silent(caplog: pytest.LogCaptureFixture):
    with signals_restored():
        with pytest.raises(Stopped, match="SIGTERM"):
            logging_what_it_cannot_close()
        assert caplog.messages == []
    logging.getLogger("library").error("closed")
    assert caplog.messages == ["closed"]


def exit_as_ray_does() -> None:
    with others_overruled():
        signal.alarm(600)
        sys.exit(signal.SIGTERM)


def test_a_library_that_exits_at_a_signal_is_overruled():
    with pytest.raises(Stopped, match="SIGTERM") as stop:
        exit_as_ray_does()
    assert stop.value.code == 143
    assert signal.alarm(0) == 0


def test_a_first_signal_is_collected_once():
    told: list[None] = []
    received = collect_signals(lambda: told.append(None))
    signal.raise_signal(signal.SIGTERM)
    assert received == [signal.SIGTERM]
    assert len(told) == 1


def test_a_key_that_is_pressed_twice_is_one_signal():
    received = collect_signals(lambda: None)
    signal.raise_signal(signal.SIGINT)
    sender = threading.Thread(target=lambda: os.kill(os.getpid(), signal.SIGINT))
    sender.start()
    until = time.monotonic() + SAME_PRESS_SECONDS + 0.5
    while time.monotonic() < until:
        hashlib.pbkdf2_hmac("sha256", b"a", b"b", 6_000_000)  # as long as Ray may keep Python from running handlers
    sender.join()
    assert received == [signal.SIGINT]


def test_a_second_signal_ends_the_process_at_once_and_its_witness_is_told():
    program = (
        "import signal, time; from search.process.signals import SAME_PRESS_SECONDS, collect_signals, witnessed\n"
        "with witnessed(lambda number: print('told', number, flush=True)):\n"
        "    collect_signals(lambda: print('first', flush=True)); signal.raise_signal(signal.SIGINT)\n"
        "    time.sleep(SAME_PRESS_SECONDS + 0.5); signal.raise_signal(signal.SIGINT); print('alive')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGINT, "first\ntold 2\n"), done.stderr


class Thing:
    """Something that can be taken apart."""


class Deleted:
    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        signal.raise_signal(self.number)


def in_weakref_callback(number: int) -> None:
    thing = Thing()
    kept = weakref.ref(thing, lambda _: signal.raise_signal(number))
    del thing
    assert kept() is None


def in_deletion(number: int) -> None:
    Deleted(number)


def in_weakref_callback_under_ray(number: int) -> None:
    """While Ray starts its own handler exits, which is dropped as well."""
    signal.signal(number, lambda number, _: sys.exit(number))
    in_weakref_callback(number)
    raise_stopped_again()


def raise_stopped_again() -> None:
    """As at the end of `others_overruled`: our handler is back, and what was noted stays noted."""
    with others_overruled():
        pass


def in_a_bare_except(number: int) -> None:
    with contextlib.suppress(BaseException):
        signal.raise_signal(number)


@pytest.mark.parametrize("number", STOP_SIGNALS)
@pytest.mark.parametrize("lose", [in_weakref_callback, in_deletion])
def test_a_signal_whose_exception_python_drops_comes_again(
    lose: Callable[[int], None], number: signal.Signals, capsys: pytest.CaptureFixture[str]
):
    lose(number)  # nothing is raised: Python has dropped it
    with pytest.raises(Stopped, match=f"stopped by {number.name}"):
        time.sleep(60)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("lose", [in_weakref_callback, in_deletion, in_a_bare_except])
def test_a_signal_that_was_dropped_while_the_program_started_stops_the_search(lose: Callable[[int], None]):
    told: list[None] = []
    lose(signal.SIGTERM)
    received = collect_signals(lambda: told.append(None))
    time.sleep(0.2)  # it is not sent again: that would be a second signal, which ends the process
    assert received == [signal.SIGTERM]
    assert first_signal() == signal.SIGTERM
    assert len(told) == 1


def test_a_signal_is_known_while_the_main_thread_computes_outside_python():
    known: list[int | None] = []

    def send() -> None:
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        known.append(first_signal())

    sender = threading.Thread(target=send)
    raise_stopped()
    with pytest.raises(Stopped, match="SIGTERM"):  # noqa: PT012
        sender.start()
        while not known:
            hashlib.pbkdf2_hmac("sha256", b"a", b"b", 3_000_000)  # a second or more without a look at signals
    sender.join()
    assert known == [signal.SIGTERM]


def test_a_signal_to_a_forked_child_is_not_one_to_this_process():
    raise_stopped()
    fork = multiprocessing.get_context("fork")
    runs = fork.Event()
    child = fork.Process(target=lambda: (runs.set(), time.sleep(60)))
    child.start()
    runs.wait()
    child.terminate()
    child.join()
    assert first_signal() is None


def test_a_signal_that_a_library_swallows_is_raised_where_control_returns():
    in_a_bare_except(signal.SIGINT)
    with pytest.raises(Stopped, match="SIGINT"):
        raise_noted()


def test_the_exit_of_ray_s_handler_that_is_dropped_is_raised_when_ray_is_up():
    with pytest.raises(Stopped, match="SIGTERM"):
        in_weakref_callback_under_ray(signal.SIGTERM)


def test_a_new_command_knows_nothing_of_the_signals_of_another():
    in_a_bare_except(signal.SIGTERM)
    raise_stopped()
    raise_noted()
    assert collect_signals(lambda: None) == []


def test_other_exceptions_that_python_drops_are_told_as_ever(monkeypatch: pytest.MonkeyPatch):
    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: told.append(dropped.exc_value))
    raise_stopped()
    thing = Thing()
    kept = weakref.ref(thing, lambda _: 1 / 0)
    del thing
    assert kept() is None
    assert [type(error) for error in told] == [ZeroDivisionError]


def test_a_command_leaves_with_its_code_once_all_is_said_and_cleared_away(tmp_path: Path):
    program = (
        "import sys; from search.process.arguments import leave; from search.process.scratch import make_scratch\n"
        "class Slow:\n"
        "    def __del__(self): print('taken apart')\n"
        "kept = Slow()\n"
        "print(make_scratch())\n"
        "leave(3)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith(str(tmp_path)), "what was printed has been written"
    assert list(tmp_path.iterdir()) == []
    assert "taken apart" not in done.stdout


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_that_a_command_does_not_catch_is_one_line_and_its_exit_code(
    number: int, capsys: pytest.CaptureFixture
):
    def stopped_again_while_it_tells(words: list[str]) -> int:
        try:
            signal.raise_signal(number)
        except Stopped:
            signal.raise_signal(number)
        return 0

    assert until_stopped(stopped_again_while_it_tells, []) == 128 + number
    assert capsys.readouterr().err == f"stopped by {signal.Signals(number).name}\n"
    signal.raise_signal(number)  # the process is about to end: nothing is left to stop


@pytest.mark.parametrize("module", ["search.run", "search.rerun", "analysis.final", "analysis.docs", "rungwise.cli"])
def test_ctrl_c_while_a_command_is_still_imported_needs_no_traceback(module: str, tmp_path: Path):
    (tmp_path / "tyro.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    done = subprocess.run(
        [sys.executable, "-m", module, "runs"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_a_terminal_that_is_closed_ends_nothing_that_nohup_started():
    program = (
        "import signal; from search.process.signals import collect_signals, raise_stopped\n"
        "raise_stopped(); signal.raise_signal(signal.SIGHUP)\n"
        "stopped = collect_signals(lambda: None); signal.raise_signal(signal.SIGHUP); print(stopped)\n"
    )
    done = subprocess.run(
        ["nohup", sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


class AsIfInitialised:
    """The spec of a module in C, which runs Python code while it is initialised: this gets the signal."""

    name = "anything"

    @property
    def origin(self) -> str:
        signal.raise_signal(signal.SIGTERM)
        raise ImportError("ran to its end")


def test_a_signal_while_a_module_in_c_is_initialised_waits_until_that_is_done():
    """Such code may turn the exception into another, or abort: SciPy does, seen in 1 of 100 signals."""
    with pytest.raises(ImportError, match="ran to its end"):
        ExtensionFileLoader("anything", "anything").create_module(AsIfInitialised())  # type: ignore[arg-type]
    with pytest.raises(Stopped, match="SIGTERM"):
        time.sleep(60)
