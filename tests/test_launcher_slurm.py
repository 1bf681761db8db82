"""docs/examples/slurm.sbatch: run as it is on two hosts that this machine makes, by a stand-in for `srun`.

What is not SLURM's is real: Ray's symmetric-run, the token, the signal before the time limit, the second start.
"""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.storage.study import open_study
from tests.hosts import TREE, Host, NoHostsError, make_hosts, wait_until
from tests.searching import ROOT, assert_sound

FILE = ROOT / "docs" / "examples" / "slurm.sbatch"
TEXT = FILE.read_text()
ADDRESSES = ["198.51.100.10", "198.51.100.11"]
OPTIONS = "options=(--trials 16 --max-epochs 3)"

SRUN = f"""#!/bin/bash
# the command on each host, in the folder and environment of the job; what is left when the first has failed is ended
while [[ $1 == --* ]]; do shift; done
command=$(printf '%q ' env PATH="$PATH" $(env | grep -E '^(RAY|RUNGWISE)_') "$@")
enter() {{ ssh -i ~/.ssh/rungwise -o LogLevel=ERROR -o StrictHostKeyChecking=no root@"$1" "cd $PWD && PATH=$PATH $2"; }}
for host in {" ".join(ADDRESSES)}; do enter $host "$command" & done
for host in {" ".join(ADDRESSES)}; do wait -n || {{ code=$?; break; }}; done
for host in {" ".join(ADDRESSES)}; do enter $host "ray stop --force" > /dev/null; done
exit ${{code:-0}}
"""
JOB = (
    "echo $$ > ~/job.pid; exec env PATH=$HOME/bin:$PATH SLURM_SUBMIT_DIR=/mnt/shared/job SLURM_JOB_ID=7"
    f" SLURM_NNODES={len(ADDRESSES)} SLURM_CPUS_PER_TASK=1 bash ~/slurm.sbatch"
)
"""One CPU for each host, so that both train."""


def test_bash_accepts_the_file_and_ray_knows_its_options():
    subprocess.run(["bash", "-n", str(FILE)], check=True)
    ray = Path(sys.executable).with_name("ray")
    known = "".join(
        subprocess.run([str(ray), command, "--help"], capture_output=True, text=True, check=True).stdout
        for command in ("symmetric-run", "start")
    )
    (asked,) = re.findall(r"ray symmetric-run (.*?) -- ", TEXT)
    flags = re.findall(r"--[a-z-]+", asked)
    assert len(flags) == 3
    assert [flag for flag in flags if flag not in known] == []


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[list[Host]]:
    try:
        with make_hosts(tmp_path, ADDRESSES) as made:
            yield made
    except NoHostsError as error:
        pytest.skip(str(error))


@pytest.mark.cluster
@pytest.mark.slow
def test_a_job_saves_before_its_time_limit_is_queued_again_and_finishes(hosts: list[Host], tmp_path: Path):
    head, worker = hosts
    _furnish(head, tmp_path / "shared" / "job")
    run_dir = tmp_path / "shared" / "job" / "runs" / "slurm-7"
    job = head.start(JOB)
    wait_until(lambda: _epochs(run_dir) >= 3, "the first epochs", seconds=150, every=0.3)
    assert any("raylet" in line for line in worker.processes())
    head.run("kill -TERM $(cat ~/job.pid)")
    said, _ = job.communicate(timeout=90)
    assert job.returncode == 128 + signal.SIGTERM, said
    assert "requeue 7" in said
    assert list(run_dir.parent.glob(".token-*")) == []
    done = _epochs(run_dir)
    said = head.run(JOB, timeout=200)
    assert "resuming" in said
    assert_sound(run_dir)
    assert _epochs(run_dir) > done
    for host in hosts:
        wait_until(lambda host=host: host.processes() == [], f"the end of Ray on {host.name}", seconds=30)


def _furnish(head: Host, job: Path) -> None:
    """What SLURM and the user provide: two commands, and this repository on the shared folder."""
    job.mkdir()
    for name in ("search", "spaces", "trainables", "analysis", "rungwise", ".venv"):
        (job / name).symlink_to(f"{TREE}/{name}")
    (before,) = re.findall(r"^options=.*--space.*$", TEXT, re.MULTILINE)
    (head.home / "slurm.sbatch").write_text(TEXT.replace(before, OPTIONS))
    (head.home / "bin").mkdir()
    for name, text in {"srun": SRUN, "scontrol": '#!/bin/bash\necho "$@"\n'}.items():
        (head.home / "bin" / name).write_text(text)
        (head.home / "bin" / name).chmod(0o755)


def _epochs(run_dir: Path) -> int:
    """Epochs in the study."""
    try:
        return sum(len(trial.intermediate_values) for trial in open_study(run_dir).trials)
    except (ValueError, OSError):
        return 0
