"""Starts a Ray for this process alone: on the loopback interface, with a token, without servers that it does not need.

Ray allows 30 seconds for a start, which a busy machine may exceed. Here a start may take longer, and is tried twice.
"""

import importlib.util
import os
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import psutil

import spaces
from search.process.allotted import load
from search.process.arguments import command
from search.process.disk import shared_room
from search.process.scratch import make_scratch
from search.process.signals import reinstall_handlers
from search.process.silence import doing
from search.process.text import duration
from trainables.plain import is_plain

OBJECT_STORE_BYTES = 256 * 2**20
"""Least shared memory of a private Ray, for the data set and Ray itself."""
START_SECONDS = 90
"""How long a start may take."""
_PRIVATE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # makes all servers listen on 127.0.0.1; meant for Windows firewalls
    "RAY_gcs_server_port_wait_time_s": str(START_SECONDS),
}
if sys.platform != "linux":
    # Without a reaper, agents of a killed search would wait a minute for a GCS that never comes back. On Linux the
    # reaper ends them, and there this would harm: a busy GCS may take longer, and Ray would end the search.
    _PRIVATE["RAY_gcs_rpc_server_reconnect_timeout_s"] = "10"


class RayStartError(RuntimeError):
    """The private Ray did not come up; nothing was trained."""


def protect() -> None:
    """Set variables that keep others from the private Ray: loopback only, and a token that exists while this process
    runs.

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
        num_cpus: CPUs that Ray may give to trials.
        scratch: folder of this Ray, which no other process uses.
        say: called with a note if the first try took too long.
        quiet: arguments of `ray.init` about its log.

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
            _temp_dir=str(scratch / f"ray{attempt}"),  # Ray makes it readable for all; the folder around it is private
            **quiet,
        )

    def clear() -> None:
        shut_down()
        _end_since(before)

    with doing(_starting()):
        try_twice(init, clear=clear, say=say)


def shut_down() -> None:
    """Leave Ray, and end it if it is private.

    Ray lets SIGTERM end the process at once from then on; the handlers of this process are installed again.
    """
    import ray

    ray.shutdown()
    reinstall_handlers()


def _starting() -> Callable[[], str]:
    """A function that describes a slow start: how long it has taken, and at the first call possible reasons."""
    began, reasons = time.monotonic(), [slow_start]

    def line() -> str:
        why = reasons.pop()() if reasons else []
        return "; ".join([f"starting Ray: {duration(time.monotonic() - began)} so far", *why])

    return line


def try_twice(init: Callable[[int], None], *, clear: Callable[[], None], say: Callable[[str], None]) -> None:
    """Call `init(0)`; if it takes too long, call `clear` and `init(1)`.

    Raises:
        RayStartError: both failed, or the first failed for a reason other than time.
    """
    for attempt in (0, 1):
        try:
            init(attempt)
            return
        except Exception as error:  # Ray raises a plain Exception if a start takes too long
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
    """Kill the processes that the shutdown of an incomplete Ray has left."""
    begun = [p for p in psutil.Process().children(recursive=True) if p not in before]
    for process in begun:
        with suppress(psutil.Error):
            if process.name() in ("gcs_server", "raylet") or process.name().startswith("ray::"):
                process.kill()
    psutil.wait_procs(begun, timeout=5)


def slow_start() -> list[str]:
    """Known reasons for a slow start of Ray on this machine."""
    reasons = [f"this machine is busy ({load()}), which slows it down"] if load() else []
    if is_uncompiled("ray"):
        reasons.append(
            "PYTHONDONTWRITEBYTECODE is set and Ray's modules are not compiled, so every process compiles them again; "
            f"run this once: {Path(sys.executable).name} -m compileall -q {site_packages()}"
        )
    return reasons


def is_uncompiled(package: str) -> bool:
    """Whether every process compiles this package again, because Python must not write compiled modules."""
    spec = importlib.util.find_spec(package)
    if not sys.dont_write_bytecode or spec is None or spec.origin is None:
        return False
    return not os.path.exists(importlib.util.cache_from_source(spec.origin))


def site_packages() -> Path:
    """Where the packages are installed."""
    spec = importlib.util.find_spec("ray")
    return Path(spec.origin).parent.parent if spec is not None and spec.origin is not None else Path(sys.prefix)


def _fit_ray(*, debug: bool) -> None:
    """Change what `ray.init` has no arguments for; in plain mode Ray stays as it is.

    A private Ray needs no autoscaler, no dashboard and, without --debug, no log monitor: these three Python processes
    cost two cores several seconds at every start. Its servers get a process group of their own, because a signal to the
    group of the search (`timeout`, a closed terminal) would end them before the search has saved and printed
    everything. And they may take longer than 30 seconds to start. Their end takes long, too, and Ray has removed the
    handler of SIGTERM by then.
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
        cast("Any", Node).kill_all_processes = _with_handlers(Node.kill_all_processes)


def _in_own_group(popen: Any) -> Any:
    class OwnGroupPopen(popen):
        of_its_own_group = True

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, process_group=0, **kwargs)

    return OwnGroupPopen


def _patient(get_node: Callable[..., Any]) -> Callable[..., Any]:
    """A `get_node` that is repeated for `START_SECONDS` until the raylet is up; Ray repeats it for 30 seconds."""

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


def _with_handlers(end: Callable[..., None]) -> Callable[..., None]:
    """An `end` of the servers before which the handlers of this process are installed again."""

    def end_servers(*args: Any, **kwargs: Any) -> None:
        reinstall_handlers()
        end(*args, **kwargs)

    return end_servers


def _has_raylet() -> bool:
    with suppress(psutil.Error):
        return any(
            child.name() == "raylet" and child.status() != psutil.STATUS_ZOMBIE for child in psutil.Process().children()
        )
    return False


WARM_UP = "search.execution.warm.warm_up"
"""Name of the function that each worker calls when it starts; a text, because this wing must not import `execution`."""
_ROOT = Path(spaces.__file__).resolve().parent.parent


def warming(hook: str, *, threads: int) -> dict[str, str]:
    """Environment variables with which a private Ray prepares its workers.

    Ray starts a process for each CPU and calls the hook in each worker. If workers have several CPUs, more would be
    prepared than are used; then a worker starts with its first trial.

    Args:
        hook: function that each worker calls, as "module.function".
        threads: CPUs of each worker of a trial.
    """
    path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    ready = threads == 1 and not is_plain()
    return {
        "PYTHONPATH": path,  # a worker that has no driver yet finds this package by it
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),  # Ray sets it only for a trial
        "RAY_prestart_worker_first_driver": str(int(ready)),
        "RAY_idle_worker_killing_time_threshold_ms": "60000",  # keeps prepared workers until their trial starts
        **({"__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR": hook} if ready else {}),
    }
