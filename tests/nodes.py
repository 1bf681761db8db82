"""Nodes of Ray that are started by a command line, as on a cluster."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.hosts import wait_until
from tests.searching import patience

SMALL = "--min-worker-port=0 --max-worker-port=0 --object-store-memory=100000000 --block"
"""Options of `ray start` for a node that needs little and ends with its process."""


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder with a token, under a short path: names of sockets are limited to 107 characters."""
    made = Path(tempfile.mkdtemp(prefix="rw"))
    (made / "token").touch(mode=0o600)
    (made / "token").write_text(32 * "ab")
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def free_port() -> int:
    """A port that nothing uses yet."""
    with socket.socket() as one:
        one.bind(("", 0))
        return one.getsockname()[1]


def variables(folder: Path) -> dict[str, str]:
    """The environment of a command on a node whose home is the folder."""
    return {
        **os.environ,
        "HOME": str(folder),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
    }


@contextmanager
def started(words: list[str], folder: Path, name: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that starts a node of Ray, once the node is up; what it prints is in the folder, under the name."""
    output = folder / name
    with output.open("w") as said:
        process = subprocess.Popen(words, env=variables(folder) | environment, stdout=said, stderr=said)
    try:
        wait_until(lambda: "Ray runtime started" in output.read_text(), name, seconds=patience(60), every=0.2)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=patience(60))
