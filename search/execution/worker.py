"""The Ray Trainable: a process that trains many trials one after another, one epoch per step."""

import json
import os
import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
import torch
from ray import tune

from search.execution.bench import open_bench, set_up
from search.execution.capture import Capture
from search.execution.failures import failure
from search.execution.job import Job
from search.execution.leaving import LEAVES
from search.execution.member import Mates, Member
from search.process.faults import fault_point
from search.process.scratch import make_scratch
from search.runtime.resources import leaving_nodes
from search.scheduling.messages import EpochResult
from search.storage.folder import trial_name
from search.storage.logs import headline
from spaces.second import LATENCY
from trainables.files.stores import Folder, open_store
from trainables.trainable import MisuseError, Stacking, StuckError, Trainable, close, go_on

if TYPE_CHECKING:
    from search.execution.sharing import GpuShare
    from search.execution.team import Team

_RAYS_OWN = frozenset(
    "done config date pid hostname node_ip timestamp training_iteration trial_id experiment_id experiment_tag"
    " should_checkpoint checkpoint_dir_name time_this_iter_s time_total_s time_since_restore said node_id"
    " leaves".split()
)
"""Names with a meaning for Ray in the result of a step; metrics with these names go only to the study."""


class TrialWorker(tune.Trainable):
    """Decodes a configuration, resumes its newest checkpoint if there is one, and trains one epoch per step."""

    def setup(self, config: dict[str, Any], *, job: Job) -> None:
        """Prepare the process once, then begin the first leg."""
        self._share = _share_gpu(job)
        if job.most_workers is not None:  # the same for all trials of this process
            job = replace(job, workers=config["workers"] if config["workers"] <= job.most_workers else 1)
        self._job, self._device = job, torch.device(set_up(job))
        self._unprepared: BaseException | None = None
        self._team: Team | None = None
        try:
            self._bench = open_bench(job)
        except (Exception, SystemExit) as error:  # such as a package that this node lacks: others would fail too
            self._unprepared = error
        self._checkpoints = open_store(job.checkpoints, anchored=True)
        self._host = {"node": socket.gethostname(), "worker": f"{socket.gethostname()}:{os.getpid()}"}
        self._capture = Capture(Path(job.output) if job.output else None)
        self._captured = ExitStack()
        self._node_id = ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""
        self._is_elsewhere = self._node_id != job.home  # and may share no folder with the search
        if isinstance(self._checkpoints, Folder) and self._is_elsewhere:
            self._checkpoints.path.mkdir(parents=True, exist_ok=True)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin the next leg in this warm process."""
        self._end()
        self._begin(new_config)
        return True

    def where(self) -> str:
        """Ray's identifier of the node of this process."""
        return self._node_id

    def cleanup(self) -> None:
        """Close the last training, and end the other workers."""
        self._end()
        if self._team is not None:
            self._team.end()

    def _end(self) -> None:
        """Close the training of the last leg."""
        try:
            if self._lead is not None:
                close(self._lead.training)
        except StuckError as error:  # it would continue beside the next trial
            print(f"error: {error}", flush=True)
            os._exit(1)
        self._captured.close()
        self._lead, self._is_ahead = None, False

    def _begin(self, leg: dict[str, Any]) -> None:
        """Store the leg; the first step builds the network, so that a build that hangs is noticed as well."""
        self._leg = leg
        self._reported = leg["reported"]
        self._store = self._checkpoints.child(trial_name(leg["trial"]))
        self._notices: list[str] = [] if self._share is None else self._share.take_notices()
        self._lead: Member | None = None
        self._capture.begin(self._store.name)
        self._mates: Mates | None = None
        self._is_headed = self._is_ahead = False

    def _build(self, trial: int, seed: int) -> Trainable:
        leg, most = {**self._leg, "trial": trial, "seed": seed}, self._job.most_workers
        if most is not None and leg["workers"] > most:
            raise MisuseError(
                f"workers(config) must return at most {most}, the workers that this search has at once, got"
                f" {leg['workers']}; return fewer, state a larger --concurrent, or --workers-per-trial for all trials"
            )

        def make() -> Trainable:
            return self._bench.build(leg, scratch=lambda: self._scratch)

        if self._job.workers == 1:
            return make()
        if self._team is None or self._team.is_over:
            from search.execution.team import Team

            self._team = Team(self._job, device=self._device.type)
        return self._team.build(make, leg)

    @cached_property
    def _scratch(self) -> Path:
        """Folder for temporary files of this process; the next search removes those of killed processes."""
        return make_scratch()

    def _continued(self) -> Member:
        """The training, restored from its newest checkpoint if there is one."""
        fault_point("begin", self._leg["trial"], trial=self._leg["trial"])
        lead = self._member(self._leg["trial"], self._leg["seed"])
        if lead.problems is not None:
            self._notices += lead.problems
        elif self._reported:
            self._notices.append(f"{self._store.name} lost its checkpoints and is trained again from epoch 1")
        return lead

    def _member(self, trial: int, seed: int) -> Member:
        return Member(lambda: self._build(trial, seed), self._checkpoints.child(trial_name(trial)), job=self._job)

    def _run_epoch(self, lead: Member) -> Mapping[str, Any]:
        """Train one more epoch, and save that of the others of the stack."""
        if not self._leg.get("mates"):
            return lead.training.run_epoch()
        started, task = time.time(), self._bench.space.work
        if self._mates is None:
            assert isinstance(task, Stacking)
            members = [self._member(trial, seed) for trial, seed in self._leg["mates"]]
            self._mates = Mates(members, task.stack)
        record, others = self._mates.run_epoch(lead.training)
        for member, found in others:
            member.records.append(self._completed(found, started=started))
            member.write(member.as_bytes(), epoch=member.training.epoch)
        return record

    def step(self) -> dict[str, Any]:
        """Train one epoch, or report again one that finished before a crash."""
        epoch = self._reported
        if not self._is_ahead:
            self._captured.enter_context(self._capture.captured())
        self._is_ahead = False
        try:
            result = self._next_epoch()
        finally:
            if not self._is_ahead:
                self._captured.close()
        result = replace(result, log=self._headed(self._capture.take() + result.log, epoch=epoch))
        self._notices = []
        numbers = {self._job.metric: float("nan"), **(result.record or {})}
        numbers = {k: v for k, v in numbers.items() if isinstance(v, int | float) and k not in _RAYS_OWN}
        told = {
            "said": json.dumps(asdict(result)),
            "node_id": self._node_id,
            LEAVES: not self._is_ahead and self._leaves(),
        }
        return {**numbers, **told}

    def _headed(self, text: str, *, epoch: int) -> str:
        """The text, under a line that says when, where and after which epoch if it is the first of the leg."""
        if self._job.debug and text:
            print(text, end="" if text.endswith("\n") else "\n", flush=True)
        if self._is_headed or not text:
            return text
        self._is_headed = True
        attached = ", attached to MPS" if self._share is not None and self._share.is_attached else ""
        return headline(f"{self._host['worker']}, after epoch {epoch}{attached}") + text

    def _next_epoch(self) -> EpochResult:
        kind = "invalid"
        try:
            if self._unprepared is not None:
                raise self._unprepared
            if self._lead is None:
                self._lead = self._continued()
            kind = "error"
            if self._reported >= self._lead.training.epoch:
                self._train(self._lead)
            record = self._lead.records[self._reported]
        except BaseException as error:  # also a KeyboardInterrupt of the code, which Ray would report as a lost worker
            if self._share is not None:
                self._share.end_if_lost(error)
            return failure(error, kind=kind, notices=self._notices)
        self._reported += 1
        return EpochResult(record=record, notices=tuple(self._notices))

    def _train(self, lead: Member) -> None:
        training = lead.training
        while training.epoch <= self._reported:  # after a damaged checkpoint, the lost epochs are trained again
            latency = self._latency(lead)
            started, clock = time.time(), time.perf_counter()
            fault_point("epoch", training.epoch + 1, trial=self._leg["trial"])
            if self._device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            record = {**self._run_epoch(lead), **latency}
            record.setdefault("seconds", time.perf_counter() - clock)
            lead.records.append(self._completed(record, started=getattr(training, "began", started)))
            fault_point("checkpoint", training.epoch, trial=self._leg["trial"])
            self._save(lead)
            fault_point("saved", training.epoch, trial=self._leg["trial"])

    def _latency(self, lead: Member) -> dict[str, float]:
        """The latency of the trial, measured before its first epoch and then kept; empty if it is not asked for."""
        if not self._job.latency:
            return {}
        if self._leg.get(LATENCY) is None:
            known = lead.records[0].get(LATENCY) if lead.records else None
            self._leg[LATENCY] = self._bench.latency(self._leg) if known is None else known
        return {LATENCY: self._leg[LATENCY]}

    def _completed(self, record: dict[str, Any], *, started: float) -> dict[str, Any]:
        """The record of an epoch, and where and when it was trained."""
        here = {"started": started, "device": self._device.type, "threads": torch.get_num_threads(), **self._host}
        return {**record, **here, **_gpu_memory(self._device)}

    def _save(self, lead: Member) -> None:
        """Save the state after an epoch; if the next epoch follows in any case, it may begin meanwhile."""
        epoch, data = lead.training.epoch, lead.as_bytes()
        self._is_ahead = self._is_followed(epoch) and go_on(lead.training)
        lead.write(data, epoch=epoch)

    def _is_followed(self, epoch: int) -> bool:
        """Whether the next epoch follows in any case; never with --debug, so that output stays in order."""
        decided = self._leg.get("decided")
        if decided is None or epoch in decided or epoch >= self._job.epochs or self._job.debug:
            return False
        return not self._leaves()

    def _leaves(self) -> bool:
        """Whether a node of this trial has been warned that it ends."""
        return self._is_elsewhere and not self._nodes.isdisjoint(leaving_nodes())

    @cached_property
    def _nodes(self) -> set[str]:
        """Ray's identifiers of the nodes of all workers of the trial."""
        group = ray.util.get_current_placement_group() if self._job.workers > 1 else None
        others = ray.util.placement_group_table(group)["bundles_to_node_id"].values() if group else ()
        return {self._node_id, *others}


def _share_gpu(job: Job) -> "GpuShare | None":
    """This worker's part in MPS, joined before CUDA is used; None if workers share no GPU."""
    if job.mps is None:
        return None
    from search.execution.sharing import GpuShare

    return GpuShare(job.mps, threads=job.threads)


def _gpu_memory(device: torch.device) -> dict[str, int]:
    """The largest GPU memory of this process during the epoch, which --gpus-per-trial must leave room for."""
    return {"gpu_memory_bytes": torch.cuda.max_memory_reserved(device)} if device.type == "cuda" else {}
