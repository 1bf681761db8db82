"""A process that starts the MPS daemon of a search on one machine, and ends it when no process of the search is left.

    python -m search.runtime.mps_keeper FOLDER      # closes its output when the state is written

The kernel frees the lock of a process however it ends, so the daemon ends after a `kill -9` of the driver as well, and
on every node of a cluster.
"""

import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from search.runtime.mps import (
    ASK_SECONDS,
    CONNECT_SECONDS,
    CONTROL,
    PIPE,
    QUIT_SECONDS,
    START_SECONDS,
    THEIRS,
    State,
    ask,
    give_up,
    locked,
    obstacle,
    server_of,
    write_state,
)

_PAUSE_SECONDS = 0.5


def main() -> None:
    """Start the daemon, write the state, and stay until no process holds the lock of the users."""
    folder = Path(sys.argv[1])
    if os.fork():
        os._exit(0)  # a child of init: Ray ends the children of its workers
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # meant for the driver, which answers them
        signal.signal(number, signal.SIG_IGN)
    owner = os.open(folder / ".owner", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(owner, fcntl.LOCK_EX)  # until it is free, no other search takes the folder for one that was left behind
    state = begin(folder)
    write_state(folder, state)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    while not _is_over(folder):
        if state.own and not state.reason and not _lives(folder):
            give_up(folder, "its daemon has ended")
        time.sleep(_PAUSE_SECONDS)


def begin(folder: Path) -> State:
    """Find a daemon of the user's, or start one, and check that a process can connect to it."""
    if reason := obstacle():
        return State(reason=reason)
    for pipe in filter(None, (os.environ.get(PIPE), THEIRS)):
        if Path(pipe).exists() and ask(pipe, "get_server_list") is not None:
            return State(pipe=pipe, own=False, reason=_try_out(pipe, own=False))
    pipe = str(folder / "pipe")
    reason = _start(folder, pipe) or _try_out(pipe, own=True)
    if reason:
        _end_daemon(folder, pipe)
    return State(pipe=pipe, reason=reason)


def _start(folder: Path, pipe: str) -> str:
    """Start the daemon; returns why it did not start, or an empty text."""
    for name in ("pipe", "log"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    said = folder / "log" / "start"
    own = {**os.environ, PIPE: pipe, "CUDA_MPS_LOG_DIRECTORY": str(folder / "log")}
    with said.open("w") as file:
        try:
            done = subprocess.run(
                [CONTROL, "-d"], stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=own, timeout=START_SECONDS,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"{CONTROL} -d did not start a daemon within {START_SECONDS} s"
        except OSError as error:
            return f"{CONTROL} cannot be run ({error.strerror})"
    words = " ".join(said.read_text(errors="replace").split())[:200]
    if done.returncode:
        return f"{CONTROL} -d failed ({words or f'exit code {done.returncode}'})"
    until = time.monotonic() + START_SECONDS
    while ask(pipe, "get_server_list") is None:
        if time.monotonic() > until:
            return f"the daemon does not answer ({words or 'it has printed nothing'})"
        time.sleep(0.1)
    return ""


def _try_out(pipe: str, *, own: bool) -> str:
    """Connect a process to the GPU through the daemon; returns why that failed, or an empty text.

    The numbers of processes are compared only with an own daemon, because another one may count those of another
    container.
    """
    client = subprocess.Popen(
        [sys.executable, "-P", "-m", "search.runtime.cuda"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, PIPE: pipe},
    )
    assert client.stdout is not None
    try:
        ready, _, _ = select.select([client.stdout], [], [], CONNECT_SECONDS)
        if not ready:
            return f"no process could connect to the GPU through the daemon within {CONNECT_SECONDS} s"
        said = client.stdout.readline().decode(errors="replace").strip()
        if said != "connected":
            return f"a process cannot connect to the GPU through the daemon ({said[:200]})"
        return "" if not own or _is_listed(pipe, client.pid) else "the daemon does not list a process that uses the GPU"
    finally:
        try:
            client.communicate(timeout=ASK_SECONDS)  # it ends by itself when its input does
        except subprocess.TimeoutExpired:
            client.kill()
            client.communicate()


def _is_listed(pipe: str, process: int) -> bool:
    until = time.monotonic() + ASK_SECONDS
    while server_of(pipe, process) is None:
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def _is_over(folder: Path) -> bool:
    """Whether no process uses MPS; then the daemon is ended, and the folder removed."""
    with locked(folder / "start"):
        users = os.open(folder / "users", os.O_RDWR)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(users)
        _end_daemon(folder, str(folder / "pipe"))
        shutil.rmtree(folder, ignore_errors=True)
    return True


def _end_daemon(folder: Path, pipe: str) -> None:
    """Ask the daemon in this folder to end, and kill what is left of it and its server."""
    if not Path(pipe).exists():
        return
    ask(pipe, "quit", seconds=QUIT_SECONDS)
    _wait_for_end(folder)
    for process in _processes(folder):
        with suppress(OSError):
            os.kill(process, signal.SIGKILL)
    _wait_for_end(folder)


def _wait_for_end(folder: Path) -> None:
    until = time.monotonic() + QUIT_SECONDS
    while _processes(folder) and time.monotonic() < until:
        time.sleep(0.05)


def _processes(folder: Path) -> set[int]:
    """Daemon and server of this folder: the process whose number the daemon has written, and those that were started
    with the folder in their environment."""
    named = f"{PIPE}={folder}/pipe".encode()
    found = {number for number in [_written(folder)] if number is not None and _is_mps(number)}
    for name in os.listdir("/proc"):
        with suppress(OSError):
            if name.isdigit() and named in _read(int(name), "environ").split(b"\0") and _is_mps(int(name)):
                found.add(int(name))
    return found


def _lives(folder: Path) -> bool:
    """Whether the daemon runs: by its number, which older ones do not write."""
    number = _written(folder)
    return _is_mps(number) if number is not None else ask(str(folder / "pipe"), "get_server_list") is not None


def _written(folder: Path) -> int | None:
    try:
        return int((folder / "pipe" / f"{CONTROL}.pid").read_text())
    except (OSError, ValueError):
        return None


def _is_mps(process: int) -> bool:
    try:
        return b"nvidia-cuda-mps" in _read(process, "cmdline")
    except OSError:
        return False


def _read(process: int, name: str) -> bytes:
    return Path(f"/proc/{process}/{name}").read_bytes()


if __name__ == "__main__":
    main()
