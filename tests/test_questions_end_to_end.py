"""Questions about images, a table and own code, by command: killed in the search and in the answer, and resumed."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.own_spaces import write_own
from tests.searching import ONE_SLOT, ROOT, RUNGWISE, Running, assert_sound, table
from tests.tables import mixed_categories, write_csv

pytestmark = pytest.mark.slow
TIMES = ("hours", "more_hours")
"""What two equal answers do not have in common."""


def digits(folder: Path) -> list[str]:
    return ["--space", "digits_arch", "--max-epochs", "3", "--train-size", "300", "--question", "batch_norm"]


def own(folder: Path) -> list[str]:
    return ["--space", str(write_own(folder)), "--question", "width=8,16"]


def houses(folder: Path) -> list[str]:
    """California housing where the real data are at hand, else a small table."""
    words = ["--max-epochs", "3", "--question", "scaling"]
    if (data := os.environ.get("DATA_DIR")) and Path(data, "california_housing.csv").is_file():
        return ["--space", "housing_mlp", "--data-dir", data, "--train-size", "1000", *words]
    path = write_csv(folder / "rent.csv", mixed_categories())
    return ["--space", "tabular_mlp", "--data-dir", str(path), "--target", "rent", *words]


@pytest.mark.parametrize("space", [digits, houses, own], ids=lambda space: space.__name__)
def test_a_question_that_is_killed_while_searched_and_while_answered_has_the_answer_of_an_undisturbed_one(
    space: Any, tmp_path: Path
):
    words = ["search", *space(tmp_path), "--trials", "10", "--seed", "5", *ONE_SLOT]
    calm = tmp_path / "runs" / "calm"
    Started(tmp_path, *words, "--name", "calm").ended()
    told = verdict(asked(tmp_path, "calm").ended())

    first = Started(tmp_path, *words, "--name", "killed")
    first.killed(r"trial 2 ")
    Started(tmp_path, "search", "--resume", "--name", "killed").ended()
    killed = tmp_path / "runs" / "killed"
    assert table(killed) == table(calm)
    assert_sound(killed)

    asked(tmp_path, "killed").killed(r"[23] of \d+ trained")
    assert not (killed / "ask" / "answers.json").exists(), "an answer is whole or not there"
    before = sum(trial[-1] == "COMPLETE" for trial in table(killed / "ask"))
    assert before > 0
    again = verdict(asked(tmp_path, "killed").ended())
    assert table(killed / "ask") == table(calm / "ask")
    assert answers(killed) == answers(calm)
    assert again == told


class Started:
    """A command in the background, in a folder of its own."""

    def __init__(self, folder: Path, *words: str) -> None:
        self._running = Running([*RUNGWISE, *words], cwd=folder, PYTHONPATH=str(ROOT))

    def ended(self) -> str:
        """What it printed; it must end in good order."""
        assert self._running.end() == 0, self._running.said
        assert "Traceback" not in self._running.said
        return self._running.said

    def killed(self, pattern: str) -> None:
        """Kill it once it prints this, and wait until nothing is left of it."""
        self._running.until(pattern)
        os.kill(self._running.process.pid, signal.SIGKILL)
        assert self._running.end() == -signal.SIGKILL
        self._running.assert_gone()


def asked(folder: Path, name: str) -> Started:
    return Started(folder, "ask", f"runs/{name}", "--best", "2", "--seeds", "2")


def answers(run: Path) -> Any:
    """The answers without the time that they took."""
    found = json.loads((run / "ask" / "answers.json").read_text())
    for answer in found:
        for part in (answer, *answer["differences"]):
            for name in TIMES:
                part.pop(name, None)
    return found


def verdict(said: str) -> str:
    """The sentence of the answer, without what more computing would take."""
    return next(line for line in said.splitlines() if " than " in line or "no clear difference" in line).partition(";")[
        0
    ]
