"""Ray: started privately on this machine, or attached to a running cluster, with none of its chatter."""

import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

from search.process.environment import only_allowed
from search.process.scratch import make_scratch, remove_scratch
from search.process.signals import others_overruled
from search.runtime import private_ray
from search.runtime.guard import LastWords, RayGuard, RayLostError, Reaper
from search.runtime.parcel import pack_code
from search.runtime.private_ray import WARM_UP, warming
from search.runtime.probe import Probe
from search.runtime.resources import Resources, living_nodes, share_nodes
from trainables.plain import is_plain

HEAD_PATIENCE_SECONDS = 30
"""A head that keeps its state elsewhere may come back; Ray itself would end this process after a minute."""
RAYLET_PATIENCE_SECONDS = 2
_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # workers keep the working directory
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_worker_niceness": "0",  # Ray's 15 would leave a search next to nothing beside other work; `nice` is handed on
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the study keeps the results
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours stops the search and prints how to resume it
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # nothing of Ray's state is ever needed again
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
}


@dataclass(frozen=True)
class RaySession:
    """A Ray to run trials on: a private one on this machine, or a cluster.

    The private one keeps its files in a 0700 folder of its own, listens on the loopback interface alone, sees no
    secret of the environment, and is gone at the end.
    """

    resources: Resources
    _: KW_ONLY
    address: str | None
    """Of a cluster; None for a private Ray."""
    debug: bool
    """Let Ray talk."""
    on_lost: Callable[[RayLostError], int | None]
    """Told when Ray is lost for good, before this process ends; it may return the exit code."""
    last_words: LastWords | None = None
    """What another process says when this one is ended without a word."""
    say: Callable[[str], None] = lambda line: None
    """Told how a slow start goes on."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of the environment, which the processes of a private Ray get beside those that all get."""
    warm_up: str = WARM_UP
    """Function that each process of a private Ray calls before it is needed, as "module.function"."""
    meanwhile: Callable[[], object] | None = None
    """Called in a thread while Ray starts, which is mostly waiting. It may see the allowed variables of the environment
    alone, and must be nothing that an end in between would leave half done: imports."""
    space: str = ""
    """What is searched; of a space of the user's own the code travels to the nodes of a cluster."""

    @contextmanager
    def up(self) -> Iterator[Path]:
        """Ray runs until the context is left.

        Yields:
            A folder for temporary files.

        Raises:
            ValueError: there is no cluster at the address, or the plain mode would give keys away.
            RayStartError: the private Ray did not come up.
        """
        self._prepare()
        import ray

        scratch = make_scratch(short=True)
        guard: RayGuard | None = None
        reaper = Reaper(scratch, last_words=self.last_words)
        try:
            self._start(scratch, reaper)
            guard = RayGuard(self.on_lost, signs=None if self.address is None else _signs_of_life(), reaper=reaper)
            guard.start()
            if not self.debug:
                _silence()
            _hand_on(*([] if self.address is None else ["RAY_CHDIR_TO_TRIAL_DIR"]))
            yield scratch
        finally:
            if guard is not None:
                guard.stop()
            ray.shutdown()
            reaper.stop()
            if guard is not None:
                guard.kill_stragglers()
            remove_scratch(scratch)

    def _prepare(self) -> None:
        """Set what Ray reads when it is imported."""
        os.environ.update({name: value for name, value in _ENVIRONMENT.items() if name not in os.environ})
        together = 1000 if self.resources.elastic else self.resources.slots
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(together)
        warnings.filterwarnings("ignore", module=r"ray\.")
        _check_keys()
        if self.address is None:
            private_ray.protect()

    def _start(self, scratch: Path, reaper: Reaper) -> None:
        quiet = {
            "configure_logging": self.debug,
            "log_to_driver": self.debug,
            "logging_level": logging.INFO if self.debug else logging.ERROR,
        }
        if self.meanwhile is not None:
            # registers handlers of forks: an import in that thread could do so in the middle of one in this thread
            import concurrent.futures.thread  # noqa: F401

            threading.Thread(target=self.meanwhile, daemon=True).start()
        if self.address is not None:
            return _attach(self.address, space=self.space, **quiet)
        cpus = self.resources.cpus_per_trial
        warm = warming(self.warm_up, cpus_per_trial=cpus)
        with only_allowed({**self.variables, **warm, **reaper.variables}), others_overruled():
            private_ray.start(self.resources.slots * cpus, scratch, say=self.say, **quiet)


@contextmanager
def attached(address: str) -> Iterator[None]:
    """The cluster at `address`, for a question or two.

    Raises:
        ValueError: there is none.
    """
    import ray

    _attach(address, configure_logging=False, log_to_driver=False, logging_level=logging.ERROR)
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        ray.shutdown()


def _attach(address: str, *, space: str = "", **quiet: Any) -> None:
    """Workers import the packages of this very checkout, whatever is installed or lies on their node.

    The packages travel as the working directory: Ray's `py_modules` would come behind whatever a node has at the path
    where this process was started.
    """
    import ray

    parcel = make_scratch()
    try:
        if not _answers(address):
            raise ConnectionError("nothing listens there")
        pack_code(parcel / "code", space=space)
        ray.init(address=address, runtime_env={"working_dir": str(parcel / "code")}, **quiet)
    except (ConnectionError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise ValueError(
            f"cannot connect to a Ray cluster at {address!r} ({reason}); start one with `ray start --head`"
        ) from None
    finally:
        remove_scratch(parcel)


def _answers(address: str) -> bool:
    """Ray itself would try for a minute and a half."""
    if address == "auto" and is_plain():
        return True  # Ray alone knows where it is
    if address == "auto":
        from ray._private.services import canonicalize_bootstrap_address

        address = canonicalize_bootstrap_address("auto") or ""
    host, _, port = address.rpartition(":")
    return bool(port) and Probe((host.strip("[]"), int(port)), patience_seconds=0)()


def _signs_of_life() -> dict[str, Callable[[], bool]]:
    """Of the cluster that this process is attached to: without the head, or its own raylet, nothing goes on."""
    import ray

    gcs = ray.get_runtime_context().gcs_address
    host, port = gcs.rsplit(":", 1)
    head = Probe((host.strip("[]"), int(port)), patience_seconds=HEAD_PATIENCE_SECONDS)
    signs: dict[str, Callable[[], bool]] = {
        f"the connection to the cluster is lost: its head does not answer at {gcs}": head
    }
    if not is_plain():
        from ray._private import worker

        node: Any = worker._global_node
        raylet = Probe(node.raylet_socket_name, patience_seconds=RAYLET_PATIENCE_SECONDS)
        signs["the connection to the cluster is lost: the raylet of this machine ended"] = raylet
    return signs


def _silence() -> None:
    """Keep back what Ray says of each lost worker, which the search tells itself; in plain mode pages of it remain."""
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    if not is_plain():
        from ray._private import worker

        worker._worker_logs_enabled = False


def _check_keys() -> None:
    """Raise ValueError where Tune would write keys into Ray's logs, which only `_hand_on` keeps it from."""
    keys = [name for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN") if name in os.environ]
    if keys and is_plain():
        raise ValueError(
            f"with RUNGWISE_PLAIN set, Ray's logs would contain {' and '.join(keys)}; unset RUNGWISE_PLAIN, or keep "
            f"the keys in ~/.aws/credentials"
        )


def _hand_on(*names: str) -> None:
    """The variables of this process that Tune gives each worker, by way of Ray's logs; else the keys of AWS are among
    them. Where there are none a worker that stands ready is used: with any, Ray starts another process for each."""
    if is_plain():
        return
    from ray.tune.execution import class_cache

    class_cache.ENV_VARS_TO_PROPAGATE = set(names)
    class_cache.DEFAULT_ENV_VARS = {}


def plan_on_cluster(
    address: str, *, concurrent: int | None, cpus_per_trial: int | None, gpus_per_trial: float | None
) -> Resources:
    """Fill in what was not given from what the cluster at `address` has.

    Raises:
        ValueError: there is no cluster.
    """
    with attached(address):
        nodes = living_nodes()
    return share_nodes(nodes, concurrent=concurrent, cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial)
