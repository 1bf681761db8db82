"""Signals that end a command, sent to this process."""

import signal

import pytest

from search.signals import Stopped, collect_signals, others_overruled, raise_stopped, signals_restored


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_unwinds_the_command_and_tells_its_exit_code(number: signal.Signals):
    with signals_restored(), pytest.raises(Stopped, match=f"stopped by {number.name}") as stop:
        raise_stopped()
        signal.raise_signal(number)
    assert stop.value.code == 128 + number


def test_the_alarm_by_which_ray_would_abort_a_slow_end_is_taken_back():
    with signals_restored(), pytest.raises(Stopped):
        raise_stopped()
        signal.alarm(600)
        signal.raise_signal(signal.SIGTERM)
    assert signal.alarm(0) == 0


def test_a_library_that_exits_at_a_signal_is_overruled():
    with signals_restored(), pytest.raises(Stopped) as stop, others_overruled():
        signal.alarm(600)
        raise SystemExit(signal.SIGTERM)
    assert stop.value.code == 143
    assert signal.alarm(0) == 0


def test_a_first_signal_is_collected_once():
    told: list[None] = []
    with signals_restored():
        received = collect_signals(lambda: told.append(None))
        signal.raise_signal(signal.SIGTERM)
    assert received == [signal.SIGTERM]
    assert len(told) == 1
