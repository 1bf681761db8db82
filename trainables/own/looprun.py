"""The argument `run` of the user's `train(config, run)`: the epochs to train, `report`, `track` and `state`."""

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from torch import nn

from trainables.own.conditions import Conditions
from trainables.own.randomness import set_random_states
from trainables.own.reported import checked
from trainables.own.stored import from_plain, to_plain
from trainables.own.tracked import load_state, state_of, unwrapped
from trainables.trainable import Diverged, MisuseError, Setting, StateError

if TYPE_CHECKING:
    from trainables.own.sharded import Shards


class Paused(BaseException):
    """The trial pauses or has ended: unwinds the training code. Do not catch it; `finally` and `with` are for that."""


class LoopRun(Conditions):
    """The second argument of `train(config, run)`: the epochs to train, facts of the trial, where to report."""

    def __init__(self, setting: Setting, *, data: Any, metric: str) -> None:
        super().__init__(setting, data=data)
        self.state: dict[str, Any] = {}
        """Plain values, bytes, tensors and arrays that are saved after every epoch and are here again afterwards."""
        self._metric = metric
        self._objects: dict[str, Any] = {}
        self._restored: dict[str, Any] | None = None
        self._shards: Shards | None = None
        self._gathered: dict[str, Any] | None = None
        """The states of the tracked objects after an epoch, if models are sharded."""
        self._done = 0
        self._current: int | None = None
        self._report: dict[str, Any] | None = None
        self._finished = False
        self._hand_over: Callable[[str], None] = lambda event: None
        self._owner = 0
        self._fault: Exception | None = None

    @property
    def epochs(self) -> "Epochs":
        """The epochs still to train, counted from 1; starts after the last finished epoch."""
        return Epochs(self)

    @property
    def epoch(self) -> int:
        """The current epoch; outside the loop, the last finished one."""
        return self._done if self._current is None else self._current

    @property
    def tracked(self) -> Mapping[str, Any]:
        """The tracked objects, by name."""
        return self._objects

    def track(self, **objects: Any) -> None:
        """Save these objects after every epoch. When a trial continues, this call restores them.

        Args:
            objects: with `state_dict` and `load_state_dict`: models, optimizers, schedulers, gradient scalers; or
                generators of random numbers.

        Raises:
            MisuseError: an object has no state to save, a name is already used, or the loop has started.
        """
        self._check_turn("track")
        if self._current is not None:
            self._misuse("run.track was called inside the loop; track everything before `for epoch in run.epochs`")
        for name, given in objects.items():
            thing = unwrapped(given)
            if name in self._objects and self._objects[name] is not thing:
                self._misuse(f"{name!r} is already tracked; give the second one another name")
            self._check(thing, name)
            self._objects[name] = thing
            if self._restored is not None:
                self._load(name, thing, self._restored["objects"])

    def report(self, **metrics: Any) -> None:
        """Report the results of an epoch: the metric, and other numbers to keep. Call it once per epoch.

        Only the report of worker 0 counts; the others need not make one.

        Raises:
            MisuseError: the metric is missing, or this is not called once per epoch in the loop.
            Diverged: the metric is not finite.
        """
        self._check_turn("report")
        if self._finished:
            self._misuse("run.report was called after the loop; call it in the loop, once in each epoch")
        if self._current is None:
            self._misuse("run.report was called outside the loop; write `for epoch in run.epochs:` around the epoch")
        if self._report is not None:
            self._misuse(f"epoch {self.epoch} was reported twice; call run.report once per epoch, with all metrics")
        try:
            told = checked(metrics, metric=self._metric, epoch=self.epoch, final=self.final) if self.rank == 0 else {}
        except Diverged as error:
            if self._shards is None:
                raise
            self._fault, told = error, {}  # raised at the end of the epoch, where the other workers wait
        self._report = told

    def _shard(self, model: nn.Module, options: dict[str, Any]) -> nn.Module:
        from trainables.own.sharded import Shards  # imports more of torch

        if self._shards is None:
            self._shards = Shards(self.device)
        return self._shards.add(model, options)

    def _check(self, thing: Any, name: str) -> None:
        """Say at once what cannot be stored."""
        if self._shards is None:
            state_of(thing, name)
        else:
            self._shards.check(thing, name)

    def _load(self, name: str, thing: Any, stored: Mapping[str, Any]) -> None:
        if name not in stored:
            known = ", ".join(stored) or "nothing"
            raise StateError(f"it has no {name!r} (it has {known})")
        load = load_state if self._shards is None else self._shards.load
        load(thing, name, stored[name])

    def _next(self) -> int:
        """Called by the loop: ends the epoch that was trained, if one was, and begins the next."""
        self._check_turn("epochs")
        if self._finished:
            raise StopIteration
        if self._current is None:
            if self._restored is not None:
                set_random_states(self._restored["random"])
                self._restored = None  # a whole state, which would stay in memory
            if self._done < self.num_epochs:
                self._check_prepared()
                self._hand_over("ready")
        else:
            if self._report is None and self.rank == 0:
                self._misuse(f"epoch {self._current} was never reported; call run.report({self._metric}=...) in it")
            if self._shards is not None:
                self._shards.agree(self._fault)
                self._gathered = self._shards.gather(self._objects)
            self._done = self._current
            self._hand_over("epoch")
            self._gathered = None
        if self._done >= self.num_epochs:
            self._current, self._finished = None, True
            raise StopIteration
        self._current, self._report = self._done + 1, None
        return self._current

    def _check_turn(self, what: str) -> None:
        if threading.get_ident() != self._owner:
            self._fault = MisuseError(
                f"run.{what} was used in a different thread than train; use it in the thread that runs train"
            )
            raise self._fault

    def _misuse(self, text: str) -> NoReturn:
        raise MisuseError(text)

    def _restore(self, stored: Mapping[str, Any]) -> None:
        self._restored = dict(stored)
        self._done = int(stored["epoch"])
        self.state = from_plain(stored["state"])
        self._folder.write(stored["files"])

    def _state(self) -> dict[str, Any]:
        found = self._gathered
        if found is None:
            found = {name: state_of(thing, name) for name, thing in self._objects.items()}
        return {
            "objects": found,
            "state": to_plain(self.state, "run.state"),
            "files": self._folder.read(),
        }


class Epochs(Iterator[int]):
    """The epochs still to train."""

    def __init__(self, run: LoopRun) -> None:
        self._run = run

    def __next__(self) -> int:
        return self._run._next()

    def __len__(self) -> int:
        return self._run.num_epochs - self._run._done
