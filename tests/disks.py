"""Real file systems for tests: small ones that fill up, and read-only views of a folder."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 24 MB."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting a small tmpfs needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("mounts are not allowed here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(path: Path) -> None:
    """Write until the file system is full."""
    with suppress(OSError), path.open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(2**16))


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """The folder once more, where it cannot be written, also by root."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("a read-only bind mount needs root")
    view = folder.with_name(f"{folder.name}-read-only")
    view.mkdir()
    if subprocess.run(["mount", "--bind", "-o", "ro", folder, view], capture_output=True, check=False).returncode:
        pytest.skip("bind mounts are not allowed here")
    try:
        yield view
    finally:
        subprocess.run(["umount", "-l", view], check=True)
