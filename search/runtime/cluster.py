"""Ray for a search: started privately on this machine, or a running cluster that is joined."""

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
from search.process.signals import others_overruled, witnessed
from search.runtime import private_ray
from search.runtime.guard import LastWords, RayGuard, RayLostError, Reaper
from search.runtime.parcel import pack_code
from search.runtime.private_ray import WARM_UP, shut_down, warming
from search.runtime.probe import Probe
from search.runtime.resources import Resources, living_nodes, share_nodes
from trainables.plain import is_plain

HEAD_PATIENCE_SECONDS = 30
"""How long the head of a cluster may be unreachable: it may restart. Ray would end this process after a minute."""
RAYLET_PATIENCE_SECONDS = 2
"""How long the raylet of this machine may be unreachable."""
_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # workers keep the working directory
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",  # the search itself takes back the count of a lost node
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_worker_niceness": "0",  # with Ray's 15 a search gets almost no CPU time beside other programs
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the study keeps the results
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours stops the search and prints how to resume it
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # Ray's state is never restored
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
}


@dataclass(frozen=True)
class RaySession:
    """A Ray to run trials on: a private one on this machine, or a cluster.

    The private one keeps its files in a folder with mode 0700, listens only on the loopback interface, sees no secret
    of the environment, and is shut down at the end.
    """

    resources: Resources
    _: KW_ONLY
    address: str | None
    """Address of a cluster; None for a private Ray."""
    debug: bool
    """Show Ray's messages."""
    on_lost: Callable[[RayLostError], int | None]
    """Called when Ray is lost for good, before this process ends; it may return the exit code."""
    last_words: LastWords | None = None
    """What another process prints if this one is killed."""
    say: Callable[[str], None] = lambda line: None
    """Called with notes on a slow start."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment variables that the processes of a private Ray get in addition to the allowed ones."""
    warm_up: str = WARM_UP
    """Function that each process of a private Ray calls before it is needed, as "module.function"."""
    meanwhile: Callable[[], object] | None = None
    """Called in a thread while Ray starts, which is mostly waiting. It sees only the allowed environment variables, and
    may be interrupted at any point, so it should only import."""
    space: str = ""
    """The space that is searched; the code of a space of the user's own is sent to the nodes of a cluster."""

    @contextmanager
    def up(self) -> Iterator[Path]:
        """Run Ray until the context is left.

        Yields:
            A folder for temporary files.

        Raises:
            ValueError: there is no cluster at the address, or the plain mode would reveal keys.
            RayStartError: the private Ray did not come up.
        """
        self._prepare()
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
            with witnessed(reaper.ended_by):
                yield scratch
        finally:
            if guard is not None:
                guard.stop()
            shut_down()
            reaper.stop()
            if guard is not None:
                guard.kill_stragglers()
            remove_scratch(scratch)

    def _prepare(self) -> None:
        """Set the environment variables that Ray reads when it is imported."""
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
            # this module registers fork handlers; the thread could import it during a fork of this thread
            import concurrent.futures.thread  # noqa: F401

            threading.Thread(target=self.meanwhile, daemon=True).start()
        if self.address is not None:
            return _attach(self.address, space=self.space, **quiet)
        warm = warming(self.warm_up, threads=self.resources.threads)
        with only_allowed({**self.variables, **warm, **reaper.variables}), others_overruled():
            cpus = self.resources.slots * self.resources.cpus_per_trial
            private_ray.start(cpus, scratch, say=self.say, **quiet)


@contextmanager
def attached(address: str) -> Iterator[None]:
    """Connect to the cluster at `address` while inside.

    Raises:
        ValueError: there is none.
    """
    _attach(address, configure_logging=False, log_to_driver=False, logging_level=logging.ERROR)
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        shut_down()


def _attach(address: str, *, space: str = "", **quiet: Any) -> None:
    """Join a cluster, whose workers then import the packages of this checkout, not those installed on their node.

    The packages are sent as the working directory: Ray's `py_modules` would come after the files that a node has at the
    path where this process was started.
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
    """Whether something listens at the address; Ray itself would try for 90 seconds."""
    if address == "auto" and is_plain():
        return True  # Ray alone knows where it is
    if address == "auto":
        from ray._private.services import canonicalize_bootstrap_address

        address = canonicalize_bootstrap_address("auto") or ""
    host, _, port = address.rpartition(":")
    return bool(port) and Probe((host.strip("[]"), int(port)), patience_seconds=0)()


def _signs_of_life() -> dict[str, Callable[[], bool]]:
    """The signs of life of the cluster that this process has joined: its head, and the raylet of this machine."""
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
    """Silence Ray's messages about lost workers, which the search reports itself; in plain mode some remain."""
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    if not is_plain():
        from ray._private import worker

        worker._worker_logs_enabled = False


def _check_keys() -> None:
    """Raise ValueError if Tune would write keys into Ray's logs: in plain mode, `_hand_on` does not prevent that."""
    keys = [name for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN") if name in os.environ]
    if keys and is_plain():
        raise ValueError(
            f"with RUNGWISE_PLAIN set, Ray's logs would contain {' and '.join(keys)}; unset RUNGWISE_PLAIN, or keep "
            f"the keys in ~/.aws/credentials"
        )


def _hand_on(*names: str) -> None:
    """Let Tune pass only these environment variables to workers.

    Tune would also pass AWS keys, which Ray writes to its logs. If it passes none, Ray uses an idle worker; otherwise
    it starts another process for each trial.
    """
    if is_plain():
        return
    from ray.tune.execution import class_cache

    class_cache.ENV_VARS_TO_PROPAGATE = set(names)
    class_cache.DEFAULT_ENV_VARS = {}


def plan_on_cluster(
    address: str,
    *,
    concurrent: int | None,
    cpus_per_trial: int | None,
    gpus_per_trial: float | None,
    workers_per_trial: int | None = None,
) -> Resources:
    """The resources of each trial: the given ones, and for the others what the nodes of the cluster have.

    Raises:
        ValueError: there is no cluster.
    """
    with attached(address):
        nodes = living_nodes()
    return share_nodes(
        nodes,
        concurrent=concurrent,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        workers_per_trial=workers_per_trial,
    )
