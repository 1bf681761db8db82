"""NVIDIA's Multi-Process Service (MPS) on this machine: a daemon for one search, joined by the processes that use it.

Without MPS a GPU runs the kernels of one process at a time. Each search has a folder on each machine,
`/tmp/rungwise-mps-KEY`:

    users       each process that uses MPS holds a shared lock on it; when it is free, the daemon is ended
    start       locked by the process that starts or ends the daemon
    state       where the daemon listens, or why MPS is not used
    pipe, log   of the daemon

Needs the standard library only, because the keeper (`search.runtime.mps_keeper`) imports it.
"""

import fcntl
import json
import os
import secrets
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from search.process.environment import allowed
from search.process.scratch import PREFIX

Mode = Literal["auto", "on", "off"]
CONTROL = "nvidia-cuda-mps-control"
PIPE = "CUDA_MPS_PIPE_DIRECTORY"
DEVICES = "CUDA_VISIBLE_DEVICES"
ASK_SECONDS = 5
START_SECONDS, CONNECT_SECONDS = 10, 30
"""How long the daemon may take to start, and the first process to connect: the server opens every GPU then."""
QUIT_SECONDS = 5
THEIRS = "/tmp/nvidia-mps"
"""Where a daemon listens if its pipe directory is not set."""
MAX_CLIENTS = 48
"""Processes that can share a GPU through MPS."""
_WITHOUT = "trials that share a GPU take turns, without MPS"
_ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True, kw_only=True)
class State:
    """Whether MPS is used on this machine, and how."""

    pipe: str = ""
    """Folder in which the daemon listens."""
    own: bool = True
    """Whether the daemon belongs to this search; another one is used and never ended."""
    reason: str = ""
    """Why MPS is not used; empty if it is."""


@dataclass(frozen=True, kw_only=True)
class Mps:
    """What a search asks of the machines that train its trials."""

    key: str
    is_required: bool
    """Whether it is an error if a machine has no MPS."""


@contextmanager
def opened(mode: Mode, gpus_per_trial: float, *, on_cluster: bool, say: Callable[[str], None]) -> Iterator[Mps | None]:
    """MPS for the trials of a search; on this machine the daemon is up inside, and ends afterwards.

    Args:
        say: called with one line if this machine has no MPS.

    Yields:
        What the workers need to join; None if they share no GPU, or do so without MPS.

    Raises:
        ValueError: `mode` is "on", and MPS cannot be used.
    """
    if mode == "off" or (mode == "auto" and not 0 < gpus_per_trial < 1):
        yield None
        return
    if not 1 / MAX_CLIENTS <= gpus_per_trial < 1:
        if mode == "on":
            raise ValueError(
                f"with --mps on, --gpus-per-trial must lie in [1/{MAX_CLIENTS}, 1), got {gpus_per_trial:g};"
                " leave --mps out to do without"
            )
        say(f"{_WITHOUT}: it serves at most {MAX_CLIENTS} processes on a GPU")
        yield None
        return
    mps = Mps(key=secrets.token_hex(4), is_required=mode == "on")
    if on_cluster:
        yield mps
        return
    member, reason = _join_here(mps.key)
    try:
        if reason and mps.is_required:
            raise ValueError(f"--mps on: MPS cannot be used here: {reason}; leave --mps out to do without")
        if reason:
            say(f"{_WITHOUT}: {reason}")
        yield None if reason else mps
    finally:
        if member is not None:
            member.leave()


def _join_here(key: str) -> "tuple[Member | None, str]":
    """This process's use of MPS, and why it is not used, if so."""
    from search.process.silence import doing

    try:
        with doing("starting MPS"):
            member = join(key, devices=os.environ.get(DEVICES, ""))
    except OSError as error:
        return None, str(error)
    return member, member.state.reason


class Member:
    """A process that uses MPS on this machine; the daemon lives as long as one of them does."""

    def __init__(self, folder: Path, lock: int) -> None:
        self._folder, self._lock = folder, lock

    @property
    def state(self) -> State:
        """As it is now."""
        return read_state(self._folder)

    @property
    def nowhere(self) -> Path:
        """A folder in which no daemon listens, so that a process with this as its pipe directory uses no MPS."""
        return self._folder / "none"

    def give_up(self, reason: str) -> None:
        """Let processes that begin from now on work without MPS; those that use it go on as long as they can."""
        give_up(self._folder, reason)

    def is_first(self, what: str) -> bool:
        """Whether no process of the search on this machine has asked this before."""
        try:
            os.close(os.open(self._folder / what, os.O_CREAT | os.O_EXCL, 0o600))
        except OSError:
            return False
        return True

    def leave(self) -> None:
        """Use it no more; if no other process does, wait until the daemon has ended."""
        os.close(self._lock)
        until = time.monotonic() + 4 * QUIT_SECONDS
        while self._folder.exists() and time.monotonic() < until:
            time.sleep(0.05)


def join(key: str, *, devices: str = "") -> Member:
    """Use MPS on this machine for the search with this key; the first process starts the daemon.

    Args:
        devices: the GPUs of the search as in CUDA_VISIBLE_DEVICES. The daemon is limited to them if they are named by
            UUID: it renumbers its devices, and then a number would mean another GPU for a client.

    Raises:
        OSError: the folder cannot be created, or belongs to another user.
    """
    folder = Path(f"/tmp/{PREFIX}mps-{key}")
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.geteuid():
            raise PermissionError(f"{folder} belongs to another user")
        with suppress(FileNotFoundError), locked(folder / "start") as start:
            if os.fstat(start).st_nlink == 0:
                continue  # the last daemon has just ended, and its folder is gone
            users = os.open(folder / "users", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(users, fcntl.LOCK_SH)
            if not (folder / "state").exists():
                _start_keeper(folder, devices)
            return Member(folder, users)


def _start_keeper(folder: Path, devices: str) -> None:
    """Start the keeper, which starts the daemon, and wait until it has written the state."""
    named = devices if devices and all(name.startswith("GPU-") for name in devices.split(",")) else ""
    environment = {**allowed(os.environ), "PYTHONPATH": _path()}
    environment.pop(DEVICES, None)
    command = [sys.executable, "-P", "-m", "search.runtime.mps_keeper", str(folder)]
    keeper = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**environment, **({DEVICES: named} if named else {})},
        cwd="/",
        start_new_session=True,
    )
    assert keeper.stdout is not None
    with keeper.stdout:
        select.select([keeper.stdout], [], [], 2 * START_SECONDS + CONNECT_SECONDS + 8 * ASK_SECONDS)
    keeper.wait()
    if not (folder / "state").exists():
        write_state(folder, State(reason="the process that starts its daemon did not answer"))


def _path() -> str:
    return os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold an exclusive lock on the file while inside; yields its descriptor."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)


def read_state(folder: Path) -> State:
    """What the file says; without the file, that the daemon has ended."""
    try:
        return State(**json.loads((folder / "state").read_text()))
    except OSError:
        return State(reason="its daemon has ended")


def write_state(folder: Path, state: State) -> None:
    """Replace the file."""
    new = folder / f"state-{os.getpid()}"
    new.write_text(json.dumps(asdict(state)))
    new.replace(folder / "state")


def give_up(folder: Path, reason: str) -> None:
    """Write into the state why MPS is no longer used; the first reason remains."""
    state = read_state(folder)
    if not state.reason:
        with suppress(OSError):
            write_state(folder, State(pipe=state.pipe, own=state.own, reason=reason))


def ask(pipe: str, command: str, *, seconds: float = ASK_SECONDS) -> list[str] | None:
    """The lines that the daemon at `pipe` answers; None if there is none, or it does not answer."""
    environment = {**os.environ, PIPE: pipe}
    try:
        done = subprocess.run(
            [CONTROL],
            input=f"{command}\n",
            capture_output=True,
            text=True,
            timeout=seconds,
            env=environment,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode or "Cannot find" in done.stdout + done.stderr:
        return None
    return done.stdout.split("\n")


def server_of(pipe: str, process: int) -> int | None:
    """The process of the MPS server that lists a process as its client; None if none does."""
    for server in _numbers(ask(pipe, "get_server_list")):
        if process in _numbers(ask(pipe, f"get_client_list {server}")):
            return server
    return None


def _numbers(lines: list[str] | None) -> list[int]:
    return [int(line) for line in lines or () if line.strip().isdigit()]


def obstacle() -> str:
    """Why MPS cannot be used on this machine; empty if nothing is known that prevents it."""
    if sys.platform != "linux" or not has_gpu():
        return "there is no NVIDIA GPU"
    if shutil.which(CONTROL) is None:
        return f"{CONTROL} is not installed, or not on the PATH"
    if "MIG-" in os.environ.get(DEVICES, ""):
        return "the GPU is divided by MIG"
    return ""


def has_gpu() -> bool:
    """Whether there is a device file of an NVIDIA GPU."""
    return any(Path("/dev").glob("nvidia[0-9]*"))
