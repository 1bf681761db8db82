"""docs/how-to/slurm.md: its job files, run as they are by a stand-in for SLURM; one job is warned, one is killed."""

import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.array_jobs import GRACE, SEARCH, SPACE, Options, is_met, make_plans, measure
from benchmarks.jobs import OPTIONS, Job, furnish, job_files
from search.storage.study import open_study
from tests.hosts import wait_until
from tests.searching import patience

EPOCH_SECONDS = 1.5


def test_bash_accepts_the_files_and_ray_knows_their_options(tmp_path: Path):
    ray = Path(sys.executable).with_name("ray")
    known = subprocess.run([str(ray), "start", "--help"], capture_output=True, text=True, check=True).stdout
    for text in job_files():
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)
        (command,) = re.findall(r"ray start (.*?) --block", text.replace("\\\n", " "))
        flags = re.findall(r"--[a-z-]+", command)
        assert len(flags) >= 5
        assert [flag for flag in flags if flag not in known] == []


def test_the_workers_leave_in_the_time_between_signal_and_limit():
    worker = job_files()[1]
    (seconds,) = re.findall(r"--signal=B:USR1@(\d+)", worker)
    (grace,) = re.findall(r"^grace=(\d+)", worker, re.MULTILINE)
    assert 20 <= int(seconds) - int(grace) <= 60


@dataclass(frozen=True, kw_only=True)
class Story:
    """A search whose workers came and went."""

    run_dir: Path
    said: str
    code: int
    warned: Job
    killed: Job
    late: Job
    begun: list[str]
    left: int
    """Processes of the jobs that were still there at the end."""


class Cluster:
    """A folder from which the jobs are submitted."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.jobs = folder, list[Job]()
        self._begun = folder / "begun"
        self._begun.touch()
        self._environment = furnish(folder) | {"BEGUN": str(self._begun), "EPOCH_SECONDS": str(EPOCH_SECONDS)}
        (folder / "my_search.py").write_text(SPACE)
        head, worker = job_files()
        self._head, self._worker = OPTIONS.sub(SEARCH, head), worker.replace("grace=270", GRACE)

    def submit(self, number: int) -> Job:
        text = self._worker if number else self._head
        self.jobs.append(Job(text, self.folder, number=number, environment=self._environment))
        return self.jobs[-1]

    def begun(self) -> list[str]:
        return self._begun.read_text().splitlines()

    def trains(self, job: Job, *, more: int) -> Callable[[], bool]:
        """Whether a job begins so many more epochs from now on."""
        before = Counter(line.split()[0] for line in self.begun())[str(job.number)]
        return lambda: Counter(line.split()[0] for line in self.begun())[str(job.number)] >= before + more


def wait(happened: Callable[[], bool], what: str) -> None:
    wait_until(happened, what, seconds=patience(60), every=0.2)


def live(cluster: Cluster) -> Story:
    """The first job is warned, the second killed; the third comes when no node is there any more."""
    head = cluster.submit(0)
    first, second = cluster.submit(1), cluster.submit(2)
    for job in (first, second):
        wait(cluster.trains(job, more=2), f"epochs of job {job.number}")
        job.look()
    first.warn()
    wait(lambda: first.look() or bool(first.ended), "the end of the warned job")
    wait(cluster.trains(second, more=2), "epochs of the other job")
    second.kill()
    third = cluster.submit(3)
    wait(cluster.trains(third, more=3), "epochs of the late job")
    third.warn()
    wait(lambda: third.look() or bool(third.ended), "the end of the late job")
    head.warn()
    code, left = head.wait(seconds=patience(60)), sum(len(job.processes()) for job in cluster.jobs)
    return Story(
        run_dir=cluster.folder / "runs" / "first", said=head.said, code=code, warned=first, killed=second, late=third,
        begun=cluster.begun(), left=left,
    )  # fmt: skip


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    cluster = Cluster(tmp_path_factory.mktemp("jobs"))
    try:
        return live(cluster)
    finally:
        for job in cluster.jobs:
            job.clear()


@pytest.mark.cluster
@pytest.mark.slow
def test_a_job_that_is_warned_loses_no_epoch_and_one_that_is_killed_at_most_one(story: Story):
    jobs = (story.warned, story.killed, story.late)
    found = measure(jobs, open_study(story.run_dir).trials, story.begun)
    assert [(job["job"], job["lost"]) for job in found["jobs"] if not job["killed"]] == [(1, 0), (3, 0)]
    assert [job["lost"] <= 1 for job in found["jobs"] if job["killed"]] == [True]
    assert sum(job["epochs"] for job in found["jobs"]) >= len(story.begun) - 1
    assert len(re.findall("note: node .* leaves the cluster; its trials continue elsewhere", story.said)) == 2
    assert "(its node was lost)" in story.said
    assert len(set(story.begun)) >= len(story.begun) - 1, "only the epoch that was killed is trained again"


@pytest.mark.cluster
@pytest.mark.slow
def test_a_search_whose_nodes_have_all_left_goes_on_with_the_next_one(story: Story):
    assert story.late.began > story.killed.left
    epochs = [record for trial in open_study(story.run_dir).trials for record in trial.user_attrs.get("history", [])]
    assert sum(record["task"] == story.late.number for record in epochs) >= 3


@pytest.mark.cluster
@pytest.mark.slow
def test_a_head_before_its_time_limit_saves_and_is_queued_again(story: Story):
    assert story.code == 128 + signal.SIGTERM, story.said
    assert "resume with:" in story.said
    assert "scontrol requeue" in story.said
    assert story.left == 0


def test_a_benchmark_is_met_only_if_nothing_but_running_epochs_was_lost():
    job = {"killed": True, "lost": 1}
    assert is_met({"busy": 0.95, "jobs": [job]})
    assert not is_met({"busy": 0.94, "jobs": [job]})
    assert not is_met({"busy": 0.95, "jobs": [job | {"killed": False}]})
    plans = make_plans(Options())
    assert sum(plan.is_killed for plan in plans) == 2
    assert all(0 <= plan.start < plan.end for plan in plans)
