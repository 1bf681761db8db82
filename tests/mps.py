"""A GPU and an MPS control program that are none, for every process that a test starts."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.searching import ROOT, patience

STANDIN = ROOT / "tests" / "fixtures" / "gpu"
CONTROL = "nvidia-cuda-mps-control"


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The variables with which a process finds the stand-ins.

    Args:
        folder: of this test alone, by which its daemons are known.
        more: CUDA_STANDIN_FAULT, and others.
    """
    program = folder / "bin" / CONTROL
    program.parent.mkdir(exist_ok=True)
    text = (STANDIN / "mps_control.py").read_text()
    program.write_text(f"#!{sys.executable} -S\n{text}")
    program.chmod(0o755)
    return {
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(STANDIN),
        "RAY_OVERRIDE_RESOURCES": '{"GPU": 1}',
        "CUDA_STANDIN_FOLDER": str(folder),
        "CUDA_STANDIN_DEFAULT": str(folder / "default"),
        **more,
    }


def daemons(folder: Path) -> list[psutil.Process]:
    """The daemons and servers of this test, by the folder in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            is_ours = process.environ().get("CUDA_STANDIN_FOLDER") == str(folder)
            if is_ours and any("nvidia-cuda-mps" in word for word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def keepers(folder: Path) -> list[psutil.Process]:
    """The keepers of this test."""
    found = []
    for process in psutil.process_iter():
        try:
            is_ours = process.environ().get("CUDA_STANDIN_FOLDER") == str(folder)
            if is_ours and "search.runtime.mps_keeper" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


def assert_none(folder: Path) -> None:
    """Nothing is left of the daemons of this test and of their keepers after a while."""
    until(lambda: not daemons(folder) and not keepers(folder))


def until(happened: Callable[[], bool], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + patience(seconds)
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.1)


def start_daemon(pipe: Path, **variables: str) -> None:
    """Start a daemon as a user does."""
    pipe.mkdir()
    command = [str(Path(variables["CUDA_STANDIN_FOLDER"]) / "bin" / CONTROL), "-d"]
    subprocess.run(command, env={**os.environ, **variables, "CUDA_MPS_PIPE_DIRECTORY": str(pipe)}, check=True)
