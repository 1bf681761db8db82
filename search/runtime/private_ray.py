"""Starts a Ray for this process alone: on the loopback interface, behind a token, spared what a search does not need.

Ray itself gives a start 30 seconds, which a busy machine may exceed. Here it gets longer, and a second try.
"""

import importlib.util
import os
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

import spaces
from search.process.allotted import load
from search.process.arguments import command
from search.process.disk import shared_room
from search.process.scratch import make_scratch
from search.process.silence import doing
from search.process.text import duration
from trainables.plain import is_plain

OBJECT_STORE_BYTES = 256 * 2**20
"""The least room for the data set, and Ray itself, in the memory that the processes of a private Ray share."""
START_SECONDS = 90
_PRIVATE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # all listen on 127.0.0.1: so Ray spares Windows its firewall's questions
    "RAY_gcs_server_port_wait_time_s": str(START_SECONDS),
}
if sys.platform != "linux":
    # Without a reaper agents of a killed search would wait a minute for a GCS that never comes back. A busy machine may
    # let it wait for longer than this, and Ray then ends the search: so not where agents are ended anyway.
    _PRIVATE["RAY_gcs_rpc_server_reconnect_timeout_s"] = "10"


class RayStartError(RuntimeError):
    """The private Ray did not come up; nothing was trained."""


def protect() -> None:
    """Nobody else may reach the private Ray: loopback only, and a token that lives as long as this process.

    Ray reads these variables when it is imported.
    """
    if "ray" in sys.modules:
        return
    os.environ.update(_PRIVATE)
    if "RAY_AUTH_MODE" in os.environ:
        return
    path = make_scratch() / "token"
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32))
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(path)}


def start(num_cpus: int, scratch: Path, *, say: Callable[[str], None], **quiet: Any) -> None:
    """Start Ray, once more if the first try takes too long.

    Args:
        scratch: folder of this Ray alone.
        say: told that the first try took too long.
        quiet: what `ray.init` is told of its log.

    Raises:
        RayStartError: it did not come up.
    """
    import ray

    _fit_ray(debug=quiet["log_to_driver"])
    before = set(psutil.Process().children())

    def init(attempt: int) -> None:
        ray.init(
            address="local",
            num_cpus=num_cpus,
            object_store_memory=shared_room(at_least=OBJECT_STORE_BYTES),
            include_dashboard=False,
            _temp_dir=str(scratch / f"ray{attempt}"),  # which Ray opens to all: the folder around it is private
            **quiet,
        )

    def clear() -> None:
        ray.shutdown()
        _end_since(before)

    with doing(_starting()):
        try_twice(init, clear=clear, say=say)


def _starting() -> Callable[[], str]:
    """What a slow start says of itself: how long it has taken, and the first time why that may be."""
    began, reasons = time.monotonic(), [slow_start]

    def line() -> str:
        why = reasons.pop()() if reasons else []
        return "; ".join([f"starting Ray: {duration(time.monotonic() - began)} so far", *why])

    return line


def try_twice(init: Callable[[int], None], *, clear: Callable[[], None], say: Callable[[str], None]) -> None:
    """Call `init(0)`; if it takes too long, clear what it left away and call `init(1)`.

    Raises:
        RayStartError: neither came up, or the first failed for another reason.
    """
    for attempt in (0, 1):
        try:
            init(attempt)
            return
        except Exception as error:  # of every kind: a start that takes too long is a bare Exception
            if attempt or not _is_late(error):
                reason = " ".join(str(error).split())[:200]
                raise RayStartError(f"Ray could not start on this machine ({reason}); {_advice()}") from error
        clear()
        say("Ray did not start in time; trying again")


def _is_late(error: Exception) -> bool:
    return "timed out" in str(error).lower() or isinstance(error, TimeoutError)


def _advice() -> str:
    return f"this machine is busy ({load()})" if load() else f"`{command('search.doctor')}` checks for the cause"


def _end_since(before: set[psutil.Process]) -> None:
    """End what the shutdown of a Ray that was never whole has left of it."""
    begun = [p for p in psutil.Process().children(recursive=True) if p not in before]
    for process in begun:
        with suppress(psutil.Error):
            if process.name() in ("gcs_server", "raylet") or process.name().startswith("ray::"):
                process.kill()
    psutil.wait_procs(begun, timeout=5)


def slow_start() -> list[str]:
    """What makes Ray start slowly here, as far as it is known."""
    reasons = [f"this machine is busy ({load()}), which slows it down"] if load() else []
    if is_uncompiled("ray"):
        reasons.append(
            "PYTHONDONTWRITEBYTECODE is set and Ray's modules are not compiled, so every process compiles them again; "
            f"run this once: {Path(sys.executable).name} -m compileall -q {site_packages()}"
        )
    return reasons


def is_uncompiled(package: str) -> bool:
    """Whether Python compiles this package anew in every process, since it was told to keep nothing."""
    spec = importlib.util.find_spec(package)
    if not sys.dont_write_bytecode or spec is None or spec.origin is None:
        return False
    return not os.path.exists(importlib.util.cache_from_source(spec.origin))


def site_packages() -> Path:
    """Where the packages are installed."""
    spec = importlib.util.find_spec("ray")
    return Path(spec.origin).parent.parent if spec is not None and spec.origin is not None else Path(sys.prefix)


def _fit_ray(*, debug: bool) -> None:
    """What `ray.init` has no words for.

    A private Ray scales nothing, shows no dashboard and, unless asked, passes no log lines on: the three Python
    processes that would do so cost two cores several seconds at every start. Its servers have a process group of their
    own: a signal to the group of the search (`timeout`, a closed terminal) would end them before the search has saved
    and said all. And they get longer than 30 seconds to come up. In plain mode Ray stays as it is.
    """
    if is_plain():
        return
    from ray._private import services
    from ray._private.node import Node

    def start_nothing(node: Any, **_: Any) -> None:
        node._webui_url = None

    for name in ("start_monitor", "start_api_server", *([] if debug else ["start_log_monitor"])):
        setattr(Node, name, start_nothing)
    if not hasattr(services.ConsolePopen, "of_its_own_group"):
        services.ConsolePopen = _in_own_group(services.ConsolePopen)
        services.get_node = _patient(services.get_node)


def _in_own_group(popen: Any) -> Any:
    class OwnGroupPopen(popen):
        of_its_own_group = True

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, process_group=0, **kwargs)

    return OwnGroupPopen


def _patient(get_node: Callable[..., Any]) -> Callable[..., Any]:
    """Ray's question for its node, which fails until the raylet is up; Ray itself repeats it for 30 seconds."""

    def ask(*args: Any, **kwargs: Any) -> Any:
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                return get_node(*args, **kwargs)
            except RuntimeError:
                if time.monotonic() > until or not _has_raylet():
                    raise
            time.sleep(0.1)

    return ask


def _has_raylet() -> bool:
    with suppress(psutil.Error):
        return any(
            child.name() == "raylet" and child.status() != psutil.STATUS_ZOMBIE for child in psutil.Process().children()
        )
    return False


WARM_UP = "search.execution.warm.warm_up"
"""What each worker calls before it is needed; a name, since this wing does not know that one."""


_ROOT = Path(spaces.__file__).resolve().parent.parent


def warming(hook: str, *, cpus_per_trial: int) -> dict[str, str]:
    """Variables with which the processes of a private Ray make themselves ready.

    Ray starts a process for each CPU, and calls the hook in each of its workers. Where trials have several CPUs that
    would be more than are ever used; then a worker starts with its first trial.
    """
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    ready = cpus_per_trial == 1 and not is_plain()
    return {
        "PYTHONPATH": path,  # before it knows its driver, a worker knows no other path to this package
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(cpus_per_trial)),  # Ray says so only to a trial
        "RAY_prestart_worker_first_driver": str(int(ready)),
        "RAY_idle_worker_killing_time_threshold_ms": "60000",  # as soon as trials have their CPUs, before they start
        **({"__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR": hook} if ready else {}),
    }
