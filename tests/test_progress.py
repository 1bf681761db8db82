"""A long step says how far it is, and what is left of it."""

import time

from analysis.progress import describe, no_progress, step


def test_a_step_is_said_at_once_and_then_every_few_moments(capsys):
    with step("importance of each column", total=4, seconds=0.05) as advance:
        assert capsys.readouterr().out == "importance of each column ...\n"
        advance()
        time.sleep(0.4)
        said = capsys.readouterr().out.splitlines()
        assert len(said) >= 2
        assert said[0].startswith("  importance of each column: 1 of 4 done after 0s, about ")
    time.sleep(0.2)
    assert capsys.readouterr().out.count("\n") <= 1, "nothing is said of a step that has ended"


def test_what_is_left_follows_from_what_is_done():
    assert describe(1, 4, 20.0) == "1 of 4 done after 20s, about 1m00s left"
    assert describe(4, 4, 20.0) == "4 of 4 done after 20s, about 0s left"
    assert describe(0, 4, 20.0) == "20s so far"
    assert describe(0, 0, 20.0) == "20s so far"
    assert describe(5, 4, 20.0) == "5 of 4 done after 20s, about 0s left"
    no_progress()
