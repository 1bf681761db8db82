"""Fixtures and settings of all tests: the folder of the real data sets, quiet libraries, a limit of computing time."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import optuna
import pytest

from tests.searching import CALM, assert_sound, search

if TYPE_CHECKING:
    from tests.exported_tables import Exported

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("RAY_worker_niceness", "0")  # on a busy machine Ray's workers would get next to nothing
optuna.logging.set_verbosity(optuna.logging.WARNING)
CPU_SECONDS = 300
"""A test that computes for longer hangs, however busy the machine is. The limit of pytest-timeout goes by the clock,
which a busy machine stretches tenfold: it only ends what waits for ever."""


@pytest.fixture(autouse=True)
def limited_computing() -> Iterator[None]:
    """Fail the test once this process has computed for too long in it."""

    def fail(_number: int, _frame: FrameType | None) -> None:
        pytest.fail(f"the test has computed for more than {CPU_SECONDS} s")

    before = signal.signal(signal.SIGPROF, fail)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread of torch: small networks on several threads mostly wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the real data sets; tests that ask for it skip where there is none."""
    folder = os.environ.get("DATA_DIR")
    if not folder or not Path(folder).is_dir():
        pytest.skip("the real data sets are not here: set DATA_DIR to the folder that holds them")
    return Path(folder)


@pytest.fixture(scope="session")
def all_exported(tmp_path_factory: pytest.TempPathFactory) -> "dict[str, Exported]":
    """Networks for CSV files of different kinds, each trained and exported when it is first asked for."""
    from tests.exported_tables import OnDemand

    return OnDemand(tmp_path_factory.mktemp)


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """An undisturbed search on one slot, run `x`: its folder and what it said."""
    runs = tmp_path_factory.mktemp("calm")
    done = search(runs, "--name", "x", *CALM)
    assert done.returncode == 0, done.stderr
    assert_sound(runs / "x")
    return runs / "x", done
