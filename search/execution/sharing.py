"""A worker that shares a GPU with others: attached to MPS, bound to cores of its own, and ended with the MPS server."""

import os
import socket
import threading
import time
from typing import Any

import psutil
import torch

from search.process.cores import pin
from search.runtime import cuda
from search.runtime.mps import ASK_SECONDS, PIPE, Member, join, server_of

LINGER_SECONDS = 5
"""After the end of the MPS server, how long a worker may take to notice before it is ended."""
_kept: list[Member] = []


class GpuShare:
    """What a worker knows of MPS on its machine."""

    def __init__(self, key: str, *, threads: int) -> None:
        """Join MPS, before this process uses the GPU.

        Args:
            threads: cores that the worker gets if it is attached; 0 to leave the choice to the system.
        """
        self._notices: list[str] = []
        self.is_attached = False
        """Whether the GPU runs this process's kernels beside those of others."""
        try:
            self._member = join(key)
        except OSError as error:
            self._notices.append(f"{socket.gethostname()}: a worker that shares a GPU cannot use MPS: {error}")
            return
        if reason := self._member.state.reason:
            self._go_without(reason)
        else:
            self._attach(self._member.state.pipe, threads)

    def take_notices(self) -> list[str]:
        """What the user should know, once."""
        notices, self._notices = self._notices, []
        return notices

    def end_if_lost(self, error: BaseException) -> None:
        """End this process if the error is one after which CUDA works in no client of the MPS server.

        The trial is given a new worker, as if this one were lost. That works without MPS: there the error, if it is one
        of the trial, is reported as such, and takes no other trial with it.
        """
        if self.is_attached and is_fatal(error):
            self._end(f"{type(error).__name__}: {str(error).splitlines()[0][:200]}")

    def _go_without(self, reason: str) -> None:
        if not self._member.state.own:
            os.environ[PIPE] = str(self._member.nowhere)  # CUDA would find the daemon by itself
        self._say("without", f"trials that share a GPU take turns, without MPS: {reason}")

    def _attach(self, pipe: str, threads: int) -> None:
        os.environ[PIPE] = pipe
        try:
            cuda.connect()
        except OSError as error:
            self._end(str(error))
        is_own = self._member.state.own
        server = _server(pipe) if is_own else None
        if is_own and server is None:
            self._say("unlisted", "MPS does not list a worker that uses the GPU; it may take turns with the others")
            return
        self.is_attached = True
        cores = len(pin(threads))
        self._say("attached", f"trials share the GPU through MPS{', each on cores of its own' if cores else ''}")
        if server is not None:
            threading.Thread(target=self._watch, args=(server,), name="mps", daemon=True).start()

    def _say(self, what: str, line: str) -> None:
        if self._member.is_first(what):
            self._notices.append(f"{socket.gethostname()}: {line}")

    def _watch(self, server: int) -> None:
        while _lives(server):
            time.sleep(1)
        time.sleep(LINGER_SECONDS)  # CUDA usually reports the end by an error
        self._end("its server has ended")

    def _end(self, reason: str) -> None:
        self._member.give_up(reason)
        print(f"error: MPS failed ({reason}); the trial continues in another process, without it", flush=True)
        os._exit(1)


def is_fatal(error: BaseException) -> bool:
    """Whether the error is one of CUDA after which this process cannot use the GPU any more."""
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__) is not None and cause not in causes:
        causes.append(cause)
    texts = [str(cause) for cause in causes if isinstance(cause, RuntimeError)]
    is_memory = any(isinstance(cause, torch.OutOfMemoryError) for cause in causes)
    return not is_memory and any("CUDA error" in text and "out of memory" not in text for text in texts)


def _server(pipe: str) -> int | None:
    """The MPS server of this process."""
    until = time.monotonic() + ASK_SECONDS
    while (server := server_of(pipe, os.getpid())) is None and time.monotonic() < until:
        time.sleep(0.2)
    return server


def _lives(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def require_mps(key: str) -> None:
    """Raise ValueError unless MPS is up on every node of the cluster that has a GPU."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote: Any = ray.remote(num_cpus=0, max_retries=1)(missing_here)
    with_gpus = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]
    places = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in with_gpus]
    answers = ray.get([remote.options(scheduling_strategy=place).remote(key) for place in places])
    if found := [answer for answer in answers if answer]:
        raise ValueError(f"--mps on: MPS cannot be used on {'; '.join(found)}; leave --mps out to do without")


def missing_here(key: str) -> str:
    """This node and why it has no MPS; empty if it has. Called on the node, whose daemon then waits for the workers."""
    _kept.append(join(key))
    reason = _kept[-1].state.reason
    return f"{socket.gethostname()}: {reason}" if reason else ""
