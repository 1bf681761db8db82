"""Watches the progress of a search: applies requests, ends trials that hang, and prints why nothing happens."""

import time
from collections.abc import Callable
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayError
from ray.tune.experiment import Trial

from search.execution.leaving import LEAVES, Departures
from search.execution.nodes import is_gone
from search.process.allotted import load
from search.process.text import duration
from search.runtime.guard import kill_process
from search.runtime.resources import Resources, capacity, living_nodes
from search.scheduling.losses import NODE_LOST, OUT_OF_MEMORY, MemoryKills, loss
from search.scheduling.search import Search

SAY_SECONDS = 60
ROOM_SECONDS = 1800
"""A search ends if no node has had room for a trial for this long; a node that joins a cluster may take minutes."""
_LOOK_SECONDS = 1


class NoRoomError(RuntimeError):
    """No node of the cluster has had room for a trial for too long."""


class ProgressWatch(tune.Callback):
    """A callback of Tune that follows every step of Ray's loop.

    A trial begins when its worker takes it, and makes progress with each epoch that it reports.
    """

    def __init__(
        self,
        search: Search,
        *,
        resources: Resources,
        timeout: float | None,
        say: Callable[[str], None],
        on_cluster: bool = False,
        busy: Callable[[], str] = load,
        clock: Callable[[], float] = time.monotonic,
        say_seconds: float = SAY_SECONDS,
        room_seconds: float = ROOM_SECONDS,
        kills: MemoryKills | None = None,
    ) -> None:
        """
        Args:
            timeout: seconds without progress after which a trial has failed; None for no limit.
            say: called every `say_seconds` while nothing happens.
            on_cluster: whether the trials run on a cluster, which others may use too.
            busy: the load of this machine in a few words; empty if it is not overloaded.
            room_seconds: seconds without room for a single trial after which the search ends.
        """
        self._say_seconds, self._place_seconds = say_seconds, room_seconds
        self._on_cluster, self._busy = on_cluster, busy
        self._search, self._resources, self._timeout, self._say, self._clock = search, resources, timeout, say, clock
        self._since: dict[str, float] = {}
        self._legs: dict[str, Trial] = {}
        self._nodes: dict[str, str] = {}
        """Leg -> node on which its last epoch was trained."""
        self._places: dict[str, Any] = {}
        """Leg -> node on which it has begun, on a cluster, as a future that is answered before the training begins."""
        self._explained: dict[str, tuple[str, tuple[str, str]]] = {}
        """Leg that has lost a worker -> which loss it was, and its kind and reason."""
        self._addresses: dict[str, Any] = {}
        """Leg -> address and process of its worker, as a future that is answered before the training begins."""
        self._kills = kills or MemoryKills()
        self._departures = Departures(say)
        self._last_sign = self._last_word = self._last_look = self._last_place = clock()

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        """Ray pickles its callbacks for a restore that is never made."""
        return object, ()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A worker has taken the leg up."""
        self._legs[trial.trial_id] = trial
        actor = trial.temporary_state.ray_actor
        if self._timeout is not None and actor is not None:
            self._addresses[trial.trial_id] = actor.get_current_ip_pid.remote()
        if self._on_cluster and actor is not None:
            self._places[trial.trial_id] = actor.where.remote()
        self._see(trial)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """An epoch has ended."""
        self._nodes[trial.trial_id] = result.get("node_id", "")
        if result.get(LEAVES):
            self._departures.note(result["node_id"])
        self._see(trial)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The leg is over."""
        self._nodes.pop(trial.trial_id, None)
        self._places.pop(trial.trial_id, None)
        self._forget(trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The leg has lost its worker for good."""
        self._forget(trial)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The leg has lost its worker and waits for another."""
        self._forget(trial)
        kind, reason = self._why_lost(trial)
        if kind == NODE_LOST:
            trial.run_metadata.num_failures -= 1  # spot machines are lost often, which is no failure of the trial
        if kind == OUT_OF_MEMORY:
            trial.max_failures = min(trial.max_failures, 1)  # one retry: a larger trial may have filled the memory
        self._search.lost_worker(trial.trial_id, kind=kind, reason=reason)

    def on_lost(self, trial: Trial) -> None:
        """The leg has lost its last worker, and is about to end."""
        kind, reason = self._why_lost(trial)
        self._search.losses.note(trial.trial_id, kind=kind, reason=reason)

    def _why_lost(self, trial: Trial) -> tuple[str, str]:
        """Kind and reason of the trial's last loss. Ray reports one loss several times; the first report decides."""
        error = str(trial.get_error())
        which = f"{trial.run_metadata.num_failures} {error}"
        if self._explained.get(trial.trial_id, ("",))[0] != which:
            node = self._nodes.pop(trial.trial_id, "") or self._place(trial.trial_id)
            found = loss(
                error,
                node_is_gone=bool(node) and is_gone(node),
                killed_for_memory=self._kills.claim(self._clock()),
            )
            self._explained[trial.trial_id] = which, found
        return self._explained[trial.trial_id][1]

    def _place(self, leg_id: str) -> str:
        """The node on which a leg has begun, or an empty text."""
        place = self._places.pop(leg_id, None)
        try:
            return ray.get(place, timeout=0) if place is not None else ""
        except RayError:
            return ""

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Look for requests and for progress, once a second."""
        now = self._clock()
        if now - self._last_look < _LOOK_SECONDS:
            return
        self._last_look = now
        self._kills.look(now)
        if self._on_cluster:
            self._departures.look()
        self._steer()
        self._end_hanging(now)
        self._say_why(now)
        waits = self._search.live and not self._since
        if not waits:
            self._last_place = now
        elif now - self._last_place >= self._place_seconds:
            waited = duration(self._place_seconds)
            self._search.fatal = NoRoomError(f"no trial could start for {waited}: {self._why_waiting()}")

    def _steer(self) -> None:
        """Apply what was asked of the search; an error ends it as one of a decision does."""
        try:
            self._search.steer()
        except Exception as error:
            self._search.fatal = error

    def _see(self, trial: Trial) -> None:
        self._since[trial.trial_id] = self._last_sign = self._clock()

    def _forget(self, trial: Trial) -> None:
        self._since.pop(trial.trial_id, None)
        self._legs.pop(trial.trial_id, None)
        self._addresses.pop(trial.trial_id, None)
        self._last_sign = self._clock()

    def _end_hanging(self, now: float) -> None:
        if self._timeout is None:
            return
        for leg_id, since in list(self._since.items()):
            if now - since < self._timeout:
                continue
            trial = self._legs[leg_id]
            self._search.timed_out(leg_id, seconds=self._timeout)
            trial.max_failures = 0  # it would hang again
            if trial.temporary_state.ray_actor is not None:
                ray.kill(trial.temporary_state.ray_actor)
            self._kill_process(leg_id)
            del self._since[leg_id]

    def _kill_process(self, leg_id: str) -> None:
        """Kill a worker of this machine: one that is stopped by a signal ignores Ray's request and keeps its memory."""
        ready, _ = ray.wait([self._addresses[leg_id]], timeout=0) if leg_id in self._addresses else ([], [])
        for found in ready:
            address, pid = ray.get(found)
            if address == ray.util.get_node_ip_address():
                kill_process(pid)

    def _say_why(self, now: float) -> None:
        quiet = now - max(self._last_sign, self._last_word)
        if quiet < self._say_seconds or not self._search.live:
            return
        self._last_word = now
        running = [self._at_work(leg_id, since, now) for leg_id, since in self._since.items()]
        reasons = [*running[:8], *([] if running else [self._why_waiting()])]
        if busy := "" if self._on_cluster else self._busy():
            reasons.append(f"other programs are using this machine ({busy})")
        self._say(f"no progress for {duration(now - self._last_sign)}: {'; '.join(reasons)}")

    def _at_work(self, leg_id: str, since: float, now: float) -> str:
        number, epoch = self._search.position(leg_id)
        return f"trial {number} has been training epoch {epoch + 1} for {duration(now - since)}"

    def _why_waiting(self) -> str:
        """Why no trial trains. This machine always has room; on a cluster there may be none."""
        count = len(self._search.live)
        starting = f"{count} worker{'s are' if count > 1 else ' is'} still starting"
        if not self._on_cluster:
            return starting
        wanted, total, free = self._resources, ray.cluster_resources(), ray.available_resources()
        others = total.get("CPU", 0) - free.get("CPU", 0) - count * wanted.cpus_per_trial
        has_room = free.get("CPU", 0) >= wanted.cpus_per_trial and free.get("GPU", 0) >= wanted.gpus_per_trial
        if capacity(living_nodes(), wanted) and (has_room or others <= 0):
            return starting

        def amount(kind: str) -> str:
            return f"{free.get(kind, 0):g} of {total.get(kind, 0):g} {kind}s"

        return (
            f"a trial needs {wanted.cpus_per_trial} CPUs and {wanted.gpus_per_trial:g} GPUs;"
            f" {amount('CPU')} and {amount('GPU')} are free"
        )
