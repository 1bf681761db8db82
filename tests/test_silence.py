"""A command that works is never silent for long, and never talks over what it prints."""

import re
import subprocess
import sys

import pytest

from tests.searching import ROOT

COMMAND = """
import sys, time
from search.process.arguments import run_command
from search.process.output import print_patiently
from search.process.silence import break_silence, doing

def main(words):
    if "patiently" in words:
        print_patiently()
    break_silence(0.4)
    {body}
    return 0

run_command(main)
"""


def lines(body: str, *words: str) -> list[str]:
    """What such a command prints on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND.replace("{body}", body), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stderr.splitlines()


@pytest.mark.parametrize("words", [(), ("patiently",)])
def test_a_silent_command_says_what_it_is_doing(words):
    said = lines("with doing('reading the data'): time.sleep(2)", *words)
    assert 2 <= len(said) <= 5
    assert all(re.fullmatch(r"reading the data: \ds so far", line) for line in said)


def test_the_innermost_part_is_said_and_afterwards_the_outer_one():
    body = "with doing(lambda: 'a search'):\n        with doing('reading'): time.sleep(0.9)\n        time.sleep(0.9)"
    said = lines(body)
    assert said[0].startswith("reading: ")
    assert said[-1] == "a search"


def test_a_command_that_names_nothing_still_says_that_it_works():
    said = lines("time.sleep(1)")
    assert said
    assert all(re.fullmatch(r"working: \ds so far", line) for line in said)


@pytest.mark.parametrize("words", [(), ("patiently",)])
def test_what_prints_often_is_not_interrupted(words):
    assert lines("for i in range(40): (time.sleep(0.05), print(i, flush=True))", *words) == []


def test_what_changes_while_it_is_described_is_described_the_next_time():
    body = "names = iter([1]); "
    body += "doing_it = doing(lambda: str(next(names, None) and {}[0])); doing_it.__enter__(); time.sleep(1.5)"
    said = lines(body)
    assert said[0].startswith("working: ")
    assert said[1] == "None"


def test_nothing_is_said_while_another_process_speaks():
    assert lines("with doing(lambda: ''): time.sleep(1.2)") == []
