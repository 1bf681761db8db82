"""What every test shares: the folder of the real data sets, and quiet libraries."""

import os
import subprocess
from pathlib import Path

import optuna
import pytest

from tests.searching import CALM, assert_sound, search

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("RAY_worker_niceness", "0")  # on a busy machine Ray's workers would get next to nothing
optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the real data sets; tests that ask for it skip where there is none."""
    folder = os.environ.get("DATA_DIR")
    if not folder or not Path(folder).is_dir():
        pytest.skip("the real data sets are not here: set DATA_DIR to the folder that holds them")
    return Path(folder)


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """An undisturbed search on one slot, run `x`: its folder and what it said."""
    runs = tmp_path_factory.mktemp("calm")
    done = search(runs, "--name", "x", *CALM)
    assert done.returncode == 0, done.stderr
    assert_sound(runs / "x")
    return runs / "x", done
