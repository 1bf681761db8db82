"""A training loop of the user's own, `train(config, run)`, as something that can be stopped after every epoch.

    def train(config, run):
        model, optimizer = ...
        run.track(model=model, optimizer=optimizer)
        for epoch in run.epochs:
            train_one_epoch(model, optimizer)
            run.report(accuracy=evaluate(model))
        return model

The function runs in a thread of its own, and either it runs or the worker does, never both: at the top of the loop it
hands over and waits. A trial that pauses unwinds the function by `Paused`, so that `finally` and `with` do their work.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import torch

from trainables.conditions import Conditions
from trainables.plain import copied, from_plain, to_plain
from trainables.randomness import random_states, seed_everything, set_random_states
from trainables.reported import checked
from trainables.tracked import load_state, state_of, weights_of
from trainables.trainable import MisuseError, Setting, StateError, StuckError

PAUSE_SECONDS = 60
"""How long a function may take to unwind once its trial pauses."""


class Paused(BaseException):
    """The trial pauses or has ended: unwinds the training code. Do not catch it; `finally` and `with` are for that."""


class LoopRun(Conditions):
    """What `train(config, run)` is given: the epochs still to train, and where to report and keep what matters."""

    def __init__(self, setting: Setting, *, data: Any, metric: str) -> None:
        super().__init__(setting, data=data)
        self.state: dict[str, Any] = {}
        """Plain values, bytes, tensors and arrays that are saved after every epoch and are here again afterwards."""
        self._metric = metric
        self._objects: dict[str, Any] = {}
        self._restored: dict[str, Any] | None = None
        self._done = 0
        self._current: int | None = None
        self._report: dict[str, Any] | None = None
        self._finished = False
        self._hand_over: Callable[[str], None] = lambda event: None
        self._owner = 0
        self._fault: Exception | None = None

    @property
    def epochs(self) -> "Epochs":
        """The epochs still to train, counted from 1; begins after the last finished one."""
        return Epochs(self)

    @property
    def epoch(self) -> int:
        """The epoch in training; the last finished one outside of the loop."""
        return self._done if self._current is None else self._current

    def track(self, **objects: Any) -> None:
        """Save these after every epoch; where a trial goes on they are restored here and now.

        Args:
            objects: with `state_dict` and `load_state_dict`: models, optimizers, schedulers, gradient scalers; or
                generators of random numbers.

        Raises:
            MisuseError: an object that has no state to save, a name that is taken, or a loop that has begun.
        """
        self._check_turn("track")
        if self._current is not None:
            self._misuse("run.track was called inside the loop; track everything before `for epoch in run.epochs`")
        for name, thing in objects.items():
            if name in self._objects and self._objects[name] is not thing:
                self._misuse(f"{name!r} is tracked already; give the second one another name")
            state_of(thing, name)  # says at once what cannot be stored
            self._objects[name] = thing
            if self._restored is not None:
                self._load(name, thing, self._restored["objects"])

    def report(self, **metrics: Any) -> None:
        """Say what came of the epoch: the objective, and whatever else is worth keeping; once an epoch.

        Raises:
            MisuseError: the metric is missing, or it is not the time to report.
            Diverged: the metric is not finite.
        """
        self._check_turn("report")
        if self._finished:
            self._misuse("run.report was called after the loop; report inside it, once in each epoch")
        if self._current is None:
            self._misuse("run.report was called outside the loop; write `for epoch in run.epochs:` around the epoch")
        if self._report is not None:
            self._misuse(f"epoch {self.epoch} was reported twice; call run.report once in an epoch, with all metrics")
        self._report = checked(metrics, metric=self._metric, epoch=self.epoch, final=self.final)

    def _load(self, name: str, thing: Any, stored: Mapping[str, Any]) -> None:
        if name not in stored:
            known = ", ".join(stored) or "nothing"
            raise StateError(f"it holds no {name!r} (it has {known})")
        load_state(thing, name, stored[name])

    def _next(self) -> int:
        """Called by the loop: ends the epoch that was trained, if one was, and begins the next."""
        self._check_turn("epochs")
        if self._finished:
            raise StopIteration
        if self._current is None:
            if self._restored is not None:
                set_random_states(self._restored["random"])
            if self._done < self.num_epochs:
                self._hand_over("ready")
        else:
            if self._report is None:
                self._misuse(f"epoch {self._current} was never reported; call run.report({self._metric}=...) in it")
            self._done = self._current
            self._hand_over("epoch")
        if self._done >= self.num_epochs:
            self._current, self._finished = None, True
            raise StopIteration
        self._current, self._report = self._done + 1, None
        return self._current

    def _check_turn(self, what: str) -> None:
        if threading.get_ident() != self._owner:
            self._fault = MisuseError(
                f"run.{what} was used in another thread than the one that runs train; use it in that one"
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
        return {
            "objects": {name: state_of(thing, name) for name, thing in self._objects.items()},
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


class Loop:
    """Trains one configuration by a function of the user's own, an epoch a call."""

    def __init__(
        self, train: Callable[[Any, LoopRun], Any], config: Any, *, data: Any, setting: Setting, metric: str
    ) -> None:
        self.epoch = 0
        self.run = LoopRun(setting, data=data, metric=metric)
        self.run._hand_over = self._hand_over
        self._train, self._config, self._setting = train, config, setting
        self._thread: threading.Thread | None = None
        self._worker_turn, self._code_turn = threading.Semaphore(0), threading.Semaphore(0)
        self._event = ""
        self._pausing = False
        self._returned: Any = None
        self._raised: BaseException | None = None
        self._kept: dict[str, Any] | None = None
        """The state after the last epoch, taken before the code behind the loop runs."""
        self._random: dict[str, Any] = {}
        self._began = 0.0
        self._seconds = 0.0

    def run_epoch(self) -> dict[str, Any]:
        """Trains one more epoch; returns what was reported, its number and the seconds that it took.

        Raises:
            MisuseError: the function does not keep to the protocol.
            Exception: what the function raised.
        """
        if self.epoch >= self._setting.epochs:
            raise ValueError(f"all {self._setting.epochs} epochs are trained")
        if self._thread is None:
            self._resume()
        if self._event in ("ready", "epoch"):
            self._resume()
        if self._event == "epoch" and self.run._done == self._setting.epochs:
            self._kept = copied(self._collect())
            self._resume()  # the code behind the loop
        whole = self._event == "epoch" or (self._event == "returned" and self.run._finished)
        if self.run._fault is not None or not whole:
            raise self._failure()
        self.epoch = self.run._done
        record = {"epoch": self.epoch, **(self.run._report or {}), "seconds": self._seconds}
        if self.epoch == 1 and (count := weights_of(self.run._objects)):
            record["weights"] = count
        return record

    def state(self) -> dict[str, Any]:
        """All that is tracked, `run.state`, the files of `run.folder` and the random states, as plain values.

        Raises:
            StateError: something in it cannot be stored safely; the line names it.
        """
        return self._kept if self._kept is not None else self._collect()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Runs the function up to its first epoch, with all that it tracks as it was.

        Raises:
            ValueError: the state belongs to another training, or to other code.
        """
        for name in ("epochs", "seed"):
            if state[name] != getattr(self._setting, name):
                raise StateError(f"of a training with {name}={state[name]}")
        self.run._restore(state)
        self.epoch = self.run._done
        self._resume()
        if isinstance(self._raised, StateError):
            raise self._raised

    def result(self) -> Any:
        """What the function returns once no epoch is left.

        Raises:
            Exception: what the function raised.
        """
        if self._thread is None:
            self._resume()
        if self._event != "returned" or not self.run._finished:
            raise self._failure()
        return self._returned

    def close(self) -> None:
        """Unwinds the function where it waits, and removes its folder.

        Raises:
            StuckError: it does not end.
        """
        if self._thread is not None and self._thread.is_alive():
            self._pausing = True
            self._code_turn.release()
            self._thread.join(PAUSE_SECONDS)
            if self._thread.is_alive():
                raise StuckError(
                    f"the training code did not end within {PAUSE_SECONDS} s after its trial paused; a bare `except:`"
                    " that goes on catches the pause: write `except Exception:`"
                )
        self.run._folder.remove()

    # In the worker's thread

    def _resume(self) -> None:
        """Let the function run until it hands over, returns or raises."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._call, name="train", daemon=True)
            self._thread.start()
        else:
            self._code_turn.release()
        self._worker_turn.acquire()

    def _collect(self) -> dict[str, Any]:
        return {
            "epochs": self._setting.epochs,
            "seed": self._setting.seed,
            "epoch": self.run._done,
            "random": self._random,
            **self.run._state(),
        }

    def _failure(self) -> BaseException:
        if self.run._fault is not None:
            return self.run._fault
        if self._raised is not None:
            return self._raised
        done, total = self.run._done, self._setting.epochs
        if not done and self.run._current is None:
            return MisuseError("train returned without training an epoch; write `for epoch in run.epochs:` in it")
        at = self.run.epoch
        return MisuseError(
            f"train returned in epoch {at} of {total}; leave the loop over run.epochs to its end (the search stops bad"
            " trials by itself), or raise an error to fail the trial"
        )

    # In the function's thread

    def _call(self) -> None:
        setting = self._setting
        self.run._owner = threading.get_ident()
        torch.set_num_threads(setting.threads)
        torch.set_flush_denormal(True)  # this thread's own switch: denormals slow a CPU down by an order of magnitude
        seed_everything(setting.seed)
        self._began = time.perf_counter()
        try:
            self._returned = self._train(self._config, self.run)
            self._event = "returned"
        except BaseException as error:
            self._raised, self._event = error, "raised"
        finally:
            self._worker_turn.release()

    def _hand_over(self, event: str) -> None:
        self._seconds = time.perf_counter() - self._began
        if self._pausing:
            raise Paused
        self._random, self._event = random_states(), event
        self._worker_turn.release()
        self._code_turn.acquire()
        if self._pausing:
            raise Paused
        if self.run._fault is not None:
            raise self.run._fault
        set_random_states(self._random)  # whatever the worker drew meanwhile
        self._began = time.perf_counter()
