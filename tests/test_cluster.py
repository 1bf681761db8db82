"""A search on a cluster of real Ray nodes: one joins, one is killed, the head is lost, a new cluster resumes it."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial

from search.storage.study import open_study
from search.storage.trials import epochs_reached
from tests.clusters import Nodes
from tests.own_spaces import WHOLE, write_own
from tests.searching import ROOT, Running, assert_sound, command, trials_of

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

EPOCHS = 50
TRIALS = 5
WORDS = f"--name x --trials {TRIALS} --max-epochs {EPOCHS} --pruner none --sampler random".split()
PATIENCE_SECONDS = 180
LOST = r"trial (\d+) lost its worker \(its node was lost\); another worker continues after epoch (\d+)"


@dataclass(kw_only=True)
class Story:
    """What was seen of the search, and what it left."""

    run_dir: Path
    start_seconds: float = 0.0
    """From the command's first word to its first epoch."""
    joined_seconds: float = 0.0
    """From the moment that another node had joined to the first epoch of another trial beside the first."""
    lost_seconds: float = 0.0
    """From the death of the head to the end of the driver."""
    first_words: str = ""
    first_code: int | None = None
    stored: dict[int, dict[int, float]] = field(default_factory=dict)
    """Values by trial and epoch when the head was dead."""
    warned_seconds: float = 0.0
    """From the start of the resumed search to its word on the nodes."""
    second_words: str = ""
    second_code: int | None = None
    blinded: bool = False
    placed: dict = field(default_factory=dict)
    own_words: str = ""
    """What a search of a user's own code said."""
    own_code: int | None = None


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    runs = tmp_path_factory.mktemp("cluster")
    seen = Story(run_dir=runs / "x")
    lose_everything(seen, runs)
    resume_elsewhere(seen, runs)
    return seen


def lose_everything(seen: Story, runs: Path) -> None:
    nodes = Nodes(runs / "home")
    try:
        nodes.add(cpus=0)
        nodes.add(cpus=1)
        running = Running(command(runs, *WORDS, "--address", nodes.address), **nodes.environment)
        running.until("run folder")
        began = time.monotonic()
        wait_for(seen, lambda trials: any(epochs_reached(t) for t in trials))
        seen.start_seconds = time.monotonic() - began
        nodes.add(cpus=1)
        joined = time.monotonic()
        wait_for(seen, lambda trials: sum(0 < epochs_reached(t) < EPOCHS for t in trials) >= 2)
        seen.joined_seconds = time.monotonic() - joined
        nodes.kill(1)
        running.until(LOST)
        number, epoch = map(int, re.findall(LOST, running.said)[0])
        wait_for(seen, lambda trials: epochs_reached(trials[number]) > epoch)
        nodes.kill(0)
        dead = time.monotonic()
        seen.first_code = running.end()
        seen.lost_seconds = time.monotonic() - dead
        seen.first_words = running.said
        seen.stored = {t.number: dict(t.intermediate_values) for t in trials_of(seen.run_dir)}
    finally:
        nodes.end()


def resume_elsewhere(seen: Story, runs: Path) -> None:
    """On a cluster whose nodes do not see what the driver writes into the folder of the checkpoints."""
    nodes = Nodes(runs / "home")
    try:
        nodes.add(cpus=0)
        nodes.add(cpus=8, gpus=2)
        words = command(runs, "--resume", "--name", "x", "--address", nodes.address, "--gpus-per-trial", "0")
        words, seen.blinded = hidden_from_others(seen.run_dir / "checkpoints", [*words, "--concurrent", "2"])
        running = Running(words, **nodes.environment)
        running.until("run folder")
        began = time.monotonic()
        if seen.blinded:
            running.until("cannot see")
        seen.warned_seconds = time.monotonic() - began
        seen.second_code = running.end()
        seen.second_words = running.said
        seen.placed = placing(nodes, runs)
        search_own(seen, nodes, runs)
    finally:
        nodes.end()


def hidden_from_others(folder: Path, words: list[str]) -> tuple[list[str], bool]:
    """The command with a file system of its own in the place of the folder, where that is allowed."""
    alone = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(folder)]
    if os.geteuid() != 0 or subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        return words, False
    return [*alone, *words], True


def placing(nodes: Nodes, runs: Path) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "tests.placing", nodes.address, str(runs)],
        cwd=ROOT, env={**os.environ, **nodes.environment}, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def search_own(seen: Story, nodes: Nodes, runs: Path) -> None:
    """A file of the user's own with a module and a table beside it, both of which the nodes must get."""
    home = runs / "project"
    home.mkdir()
    (home / "ours_helper.py").write_text("from pathlib import Path\nROWS = Path(__file__).with_name('rows.txt')\n")
    (home / "rows.txt").write_text("120\n")
    text = WHOLE.replace("import torch\n", "import torch\nfrom ours_helper import ROWS\n", 1).replace(
        "    for epoch in", "    print('rows', ROWS.read_text().strip(), 'from', ROWS)\n    for epoch in"
    )
    words = "--name own --trials 2 --max-epochs 2 --concurrent 1 --gpus-per-trial 0".split()
    space = str(write_own(home, "ours", text=text))
    running = Running(command(runs, "--space", space, *words, "--address", nodes.address), **nodes.environment)
    seen.own_code = running.end()
    seen.own_words = running.said


def wait_for(seen: Story, happened: Callable[[list[FrozenTrial]], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened(open_study(seen.run_dir).trials):
        assert time.monotonic() < deadline, [t.intermediate_values for t in trials_of(seen.run_dir)]
        time.sleep(0.3)


def test_a_node_that_joins_is_used_within_seconds(story: Story):
    assert story.joined_seconds < 10 + 2 * story.start_seconds, "a worker starts there at once"


def test_trials_of_a_lost_node_go_on_elsewhere_from_their_last_epoch(story: Story):
    number, epoch = map(int, re.findall(LOST, story.first_words)[0])
    assert epoch >= 1
    places = [record["worker"] for record in trials_of(story.run_dir)[number].user_attrs["history"]]
    assert set(places[:epoch]) == {places[0]}
    assert places[0] not in places[epoch + 1 :], "an epoch that was saved but not yet told is told again"
    assert "trained again" not in story.first_words + story.second_words


def test_a_lost_head_ends_the_driver_with_the_command_that_goes_on(story: Story):
    assert story.first_code == 1, story.first_words
    said = r"error: the connection to the cluster is lost: .*; resume with: python -m search.run --resume --name x"
    assert re.search(said, story.first_words), story.first_words
    assert story.lost_seconds < 60


def test_a_new_cluster_resumes_the_search_and_nothing_is_lost_or_repeated(story: Story):
    assert story.second_code == 0, story.second_words
    assert_sound(story.run_dir)
    for trial in trials_of(story.run_dir):
        known = story.stored.get(trial.number, {})
        assert {epoch: trial.intermediate_values[epoch] for epoch in known} == known


def test_nodes_that_do_not_see_the_checkpoints_are_named_with_the_choice(story: Story):
    if not story.blinded:
        pytest.skip("a file system of the driver's own needs root and mount namespaces")
    (line,) = [line for line in story.second_words.splitlines() if "cannot see" in line]
    assert f"cannot see {story.run_dir / 'checkpoints'}: give a folder that all nodes share" in line
    assert "otherwise a trial that moves to another node starts again" in line
    assert line.count("(") == 3, "two hosts, and the options"
    assert story.warned_seconds < 60


def test_parts_of_logical_gpus_give_the_concurrency_that_fits(story: Story):
    """Two GPUs, half a GPU for a trial."""
    assert story.placed["slots"] == 4
    assert story.placed["whole"] == [2, 4, 1.0], "by default a trial gets a GPU and its share of the CPUs"
    spans = [
        (record["started"], record["started"] + record["seconds"])
        for trial in trials_of(story.run_dir.parent / "parts")
        for record in trial.user_attrs["history"]
    ]
    assert max(sum(start <= moment < end for start, end in spans) for moment, _ in spans) == 4
    assert_sound(story.run_dir.parent / "parts")


def test_a_search_without_room_says_what_is_asked_and_what_there_is_and_gives_up_resumable(story: Story):
    wish = r"a trial needs 64 CPUs and 0 GPUs; \d of 8 CPUs and [\d.]+ of 2 GPUs are free"
    assert re.fullmatch(rf"no progress for \ds: {wish}", story.placed["said"][0])
    assert re.fullmatch(rf"no trial could start for 5s: {wish}", story.placed["fatal"])
    assert [t.state.name for t in trials_of(story.run_dir.parent / "huge")] == ["RUNNING"]


def test_code_of_your_own_is_searched_on_the_nodes_with_the_files_beside_it(story: Story):
    assert story.own_code == 0, story.own_words
    assert "sending your code to the nodes: 3 files" in story.own_words
    run_dir = story.run_dir.parent / "own"
    assert_sound(run_dir)
    said = [path.read_text() for path in sorted((run_dir / "logs").iterdir())]
    assert len(said) == 2
    assert all(re.search(r"rows 120 from /.*/own_code/rows.txt", log) for log in said), said


def test_nodes_import_the_code_of_the_one_who_searches(story: Story):
    assert "working_dir_files" in story.placed["code"]
