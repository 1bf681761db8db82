"""The trainings of the user's own code that `search.doctor` compares.

Each function here is called in a fresh process, so that it sees nothing that another one left behind.
"""

import gc
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import torch

import spaces.space
from search.process.environment import hint
from spaces.guarded import describe_error
from spaces.origin import locate
from trainables.files import checkpoint
from trainables.own.loop import Loop
from trainables.own.stored import copied, count_bytes, difference
from trainables.own.suspects import changed_globals, describe_globals, find_untracked
from trainables.own.task import arrays_in, checksum, with_array
from trainables.trainable import Setting, close

_PARTS = {"own": "state()", "state": "run.state"}
REPORTED = "reported "
"""How the words for a reported number that differs begin."""
HIDDEN = ("seconds", "weights", "epoch")


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a process needs to train the user's code."""

    space: str
    packed: Any
    setting: Setting
    folder: Path
    """Folder in which states are saved for the other processes."""

    def open(self) -> tuple[Any, Any]:
        """The space and the data, as a worker has them."""
        torch.set_num_threads(self.setting.threads)
        space = spaces.space.load(self.space)
        return space, space.work.unpack(self.packed, device=self.setting.device)


@dataclass(kw_only=True)
class Straight:
    """What two epochs without a pause have shown."""

    records: list[dict[str, Any]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    save_seconds: float = 0.0
    checkpoint_bytes: int = 0
    memory_bytes: int = 0
    untracked: dict[str, bool] = field(default_factory=dict)
    """Objects that the code uses and does not track, in words -> whether each changes by itself in training."""
    leaked: list[str] = field(default_factory=list)
    """What differs when the same training is repeated in the same process, in words."""
    changed_globals: list[str] = field(default_factory=list)
    other: dict[str, Any] = field(default_factory=dict)
    """The record of another configuration after one epoch; empty if it failed."""
    other_failure: str = ""
    """Why it failed."""
    data_changed: bool = False


def train_straight(setup: Setup, params: Mapping[str, Any], other: Mapping[str, Any]) -> Straight:
    """Train two epochs, then another configuration, then the same two epochs again in the same process."""
    space, data = setup.open()
    root = locate(setup.space).root
    before = checksum(data.value)
    found, states = Straight(), []
    training = space.work.build(space.decode(params), data, setup.setting)
    for epoch in (1, 2)[: setup.setting.epochs]:
        began = time.perf_counter()
        found.records.append(dict(training.run_epoch()))
        found.seconds.append(time.perf_counter() - began)
        if epoch == 1:
            found.untracked = _untracked(training, root)
        states.append(_saved(training, setup.folder / f"epoch-{epoch}", found))
    close(training)
    found.memory_bytes = psutil.Process().memory_info().rss
    found.data_changed = checksum(data.value) != before
    names = describe_globals(root)
    _train_other(found, space, data, other, setup.setting)
    found.changed_globals = changed_globals(names, describe_globals(root))
    gc.collect()
    again = space.work.build(space.decode(params), data, setup.setting)
    for epoch in range(len(found.records)):
        record = dict(again.run_epoch())
        found.leaked += differences(states[epoch], dict(again.state()), found.records[epoch], record)
    close(again)
    found.leaked = list(dict.fromkeys(found.leaked))
    return found


def _train_other(found: Straight, space: Any, data: Any, other: Mapping[str, Any], setting: Setting) -> None:
    try:
        training = space.work.build(space.decode(other), data, setting)
        try:
            found.other = dict(training.run_epoch())
        finally:
            close(training)
    except Exception as error:  # some configurations of a sound search fail
        found.other_failure = describe_error(error) + hint(error)


def train_again(setup: Setup, params: Mapping[str, Any], records: list[dict[str, Any]]) -> list[str]:
    """Train the same two epochs in a fresh process, and return what differs."""
    space, data = setup.open()
    training = space.work.build(space.decode(params), data, setup.setting)
    found: list[str] = []
    for epoch, expected in enumerate(records, start=1):
        record = dict(training.run_epoch())
        found += differences(_loaded(setup.folder / f"epoch-{epoch}"), dict(training.state()), expected, record)
    close(training)
    return list(dict.fromkeys(found))


def train_after_pause(setup: Setup, params: Mapping[str, Any], records: list[dict[str, Any]]) -> list[str]:
    """Train the second epoch from the checkpoint of the first, in a fresh process, and return what differs."""
    space, data = setup.open()
    training = space.work.build(space.decode(params), data, setup.setting)
    training.restore(_loaded(setup.folder / "epoch-1"))
    record = dict(training.run_epoch())
    found = differences(_loaded(setup.folder / "epoch-2"), dict(training.state()), records[1], record)
    close(training)
    return found


def train_on_reversed_rows(setup: Setup, params: Mapping[str, Any], metric: str) -> list[tuple[str, bool, bool]]:
    """Train an epoch for each array of the data, with the rows of that array reversed.

    Reversing the rows of one array separates inputs from their labels.

    Returns:
        For each array its name, whether the weights change, and whether the metric changes.
    """
    space, data = setup.open()

    def train(value: Any) -> tuple[Any, float]:
        training = space.work.build(space.decode(params), type(data)(value=value, checksum=""), setup.setting)
        try:
            record = dict(training.run_epoch())
            return dict(training.state()), record[metric]
        finally:
            close(training)

    state, value = train(data.value)
    state = {**state, "objects": copied(state.get("objects", state.get("own")))}
    found = []
    for name, changed in _reversed_parts(data.value):
        try:
            other, moved = train(changed)
        except Exception:  # the code does not accept this order, so this array shows nothing
            continue
        same = difference(state["objects"], copied(other.get("objects", other.get("own")))) is None
        found.append((name, not same, moved != value))
    return found


def differences(first: Any, second: Any, record: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What differs between two states and two records, in words.

    Bytes are not compared: what the user's code serialised itself may differ and still mean the same.
    """
    tracked = first.get("objects", {})
    found = [name for name in tracked if difference(tracked[name], second["objects"].get(name)) is not None]
    for part, words in _PARTS.items():
        if difference(_without_bytes(first.get(part)), _without_bytes(second.get(part))) is not None:
            found.append(words)
    for name, value in first.get("random", {}).items():
        if difference(value, second["random"].get(name)) is not None:
            found.append(f"the random numbers of {name}")
    found += [f"{REPORTED}{k}" for k in record if not _is_a_time(k) and record[k] != other.get(k)]
    return found


def _without_bytes(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_bytes(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_bytes(part) for part in value]
    return b"" if isinstance(value, bytes) else value


def _is_a_time(name: str) -> bool:
    return name in HIDDEN or any(word in name for word in ("second", "runtime", "time"))


def _saved(training: Any, folder: Path, found: Straight) -> dict[str, Any]:
    began = time.perf_counter()
    state = dict(training.state())
    checkpoint.save(folder, state, epoch=1)
    found.save_seconds = time.perf_counter() - began
    found.checkpoint_bytes = count_bytes(state)
    return _loaded(folder)


def _loaded(folder: Path) -> dict[str, Any]:
    loaded = checkpoint.load_newest(folder)
    assert loaded is not None
    assert loaded.state is not None
    return loaded.state


def _untracked(training: Any, root: Path) -> dict[str, bool]:
    if not isinstance(training, Loop) or training.thread_id is None:
        return {}
    frame = sys._current_frames().get(training.thread_id)
    return find_untracked(_frames(frame), training.run.tracked, root=root)


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _reversed_parts(value: Any) -> Iterator[tuple[str, Any]]:
    """For each array or tensor in the data, its name and the data with the rows of that array reversed."""
    for name, array in arrays_in(value)[:6]:
        turned = array.flip(0) if isinstance(array, torch.Tensor) else array[::-1].copy()
        yield name, with_array(value, array, turned)
