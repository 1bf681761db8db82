"""A stand-in for SLURM on this machine: jobs with its variables, its signal before the time limit, and its end.

The job files are those of docs/how-to/slurm.md, taken from the page. What is not imitated: queues, limits, cgroups, and
signals to the processes of a job other than its script.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "how-to" / "slurm.md"
OPTIONS = re.compile(r"^options=\(--space .*\)$", re.MULTILINE)
"""The line of the head's file that a user replaces."""
NODE_STARTED = "Ray runtime started"
_SCONTROL = '#!/bin/bash\necho scontrol "$@"\n'


def job_files() -> tuple[str, str]:
    """The files of the head and of the workers, as the page has them."""
    head, worker = re.findall(r"^```bash\n(#!/bin/bash\n.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return head, worker


def furnish(folder: Path) -> dict[str, str]:
    """Make a folder from which jobs are submitted, a clone of this repository; returns the environment of its jobs."""
    for name in ("search", "spaces", "trainables", "analysis", "rungwise"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "bin").mkdir()
    (folder / "bin" / "scontrol").write_text(_SCONTROL)
    (folder / "bin" / "scontrol").chmod(0o755)
    (folder / "home").mkdir()
    return {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "HOME": str(folder / "home"),
        "SLURM_SUBMIT_DIR": str(folder),
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_JOB_ID": str(_free_port() - 20000),
        "RAY_worker_niceness": "0",
        "SPT_NOENV": "1",  # keeps Ray's processes from writing their names over their environment
        "PYTHONUNBUFFERED": "1",
    }


def _free_port() -> int:
    for port in range(20000 + os.getpid() % 9000, 30000):
        with suppress(OSError), socket.socket() as one:
            one.bind(("", port))
            return port
    raise OSError("no port from 20000 to 30000 is free")


class Job:
    """One job, or one task of an array."""

    def __init__(self, text: str, folder: Path, *, number: int, environment: dict[str, str]) -> None:
        """
        Args:
            text: of the job's file.
            folder: from which it is submitted.
            number: SLURM_ARRAY_TASK_ID; 0 for the head.
            environment: that of `furnish`, and more.
        """
        self.number, self._mark = number, uuid.uuid4().hex
        self._output = folder / f"job-{number}.out"
        warning = re.search(r"^#SBATCH --signal=B:(\w+)@\d+", text, re.MULTILINE)
        assert warning is not None
        self._signal = signal.Signals[f"SIG{warning[1]}"]
        script = folder / f"job-{number}.sbatch"
        script.write_text(text)
        own = {"SLURM_ARRAY_TASK_ID": str(number), "RUNGWISE_JOB": self._mark}
        self.began = time.time()
        with self._output.open("w") as output:
            self._process = subprocess.Popen(
                ["bash", str(script)], cwd=folder, env={**os.environ, **environment, **own}, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.joined = self.left = self.ended = 0.0
        """Times at which its node had joined, was warned or killed, and its script had ended; 0 before."""
        self.is_killed = False

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return self._output.read_text(errors="replace")

    def look(self) -> None:
        """Note when the node joins and when the script ends."""
        if not self.joined and NODE_STARTED in self.said:
            self.joined = time.time()
        if not self.ended and self._process.poll() is not None:
            self.ended = time.time()

    def warn(self) -> None:
        """Send the script the signal that its file asks for."""
        self.left = time.time()
        self._process.send_signal(self._signal)

    def kill(self) -> None:
        """End it without a warning."""
        self.left, self.is_killed = time.time(), True
        self.clear()

    def clear(self) -> None:
        """End all its processes with SIGKILL, those that start meanwhile as well, and remove their temporary folder."""
        folders: set[str] = set()
        while found := self.processes():
            for process in found:
                with suppress(psutil.Error):
                    folders |= set(re.findall(r"--temp-dir=(/tmp/rw\.\w+)", " ".join(process.cmdline())))
                    process.kill()
            psutil.wait_procs(found, timeout=5)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        self.wait(seconds=5)

    def wait(self, *, seconds: float) -> int:
        """The exit code of the script."""
        code = self._process.wait(timeout=seconds)
        self.look()
        return code

    def processes(self) -> list[psutil.Process]:
        """Every living process of the job."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("RUNGWISE_JOB") == self._mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found
