"""A long step says how far it is, and what is left of it."""

from analysis.progress import describe, no_progress, step
from search.process.silence import current


def test_a_step_is_said_at_once_and_how_far_it_is_when_the_command_was_silent_for_long(capsys):
    with step("importance of each column", total=4) as advance:
        assert capsys.readouterr().out == "importance of each column ...\n"
        assert current(20) == "  importance of each column: 0s so far"
        advance()
        assert current(20).startswith("  importance of each column: 1 of 4 done after 0s, about ")
    assert current(20) == "working: 20s so far", "nothing is said of a step that has ended"


def test_a_step_that_is_over_at_once_can_be_silent(capsys):
    with step("the page", begin=False):
        assert capsys.readouterr().out == ""
        assert current(1) == "  the page: 0s so far"


def test_what_is_left_follows_from_what_is_done():
    assert describe(1, 4, 20.0) == "1 of 4 done after 20s, about 1m00s left"
    assert describe(4, 4, 20.0) == "4 of 4 done after 20s, about 0s left"
    assert describe(0, 4, 20.0) == "20s so far"
    assert describe(0, 0, 20.0) == "20s so far"
    assert describe(5, 4, 20.0) == "5 of 4 done after 20s, about 0s left"
    no_progress()
