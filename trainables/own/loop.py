"""A training loop of the user's own, `train(config, run)`, as something that can be stopped after every epoch.

    def train(config, run):
        model, optimizer = ...
        run.track(model=model, optimizer=optimizer)
        for epoch in run.epochs:
            train_one_epoch(model, optimizer)
            run.report(accuracy=evaluate(model))
        return model

The function runs in a thread of its own, alternating with the worker: at the top of its loop it hands over and waits.
If
another epoch follows in any case, a short one begins while the previous one is saved and reported (`go_on`). When the
trial pauses, `Paused` is raised in the function, so that `finally` and `with` run.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from trainables.own.looprun import LoopRun, Paused
from trainables.own.randomness import random_states, seed_everything, set_random_states
from trainables.own.stored import copied
from trainables.own.tracked import weights_of
from trainables.trainable import MisuseError, Setting, StateError, StuckError

PAUSE_SECONDS = 60
"""How long the function may take to end when its trial pauses."""
AHEAD_SECONDS = 2.0
"""Longer epochs wait until the previous one is saved, because an epoch that is not needed would cost too much."""


class Loop:
    """Trains one configuration by a function of the user's own, an epoch a call."""

    def __init__(
        self, train: Callable[[Any, LoopRun], Any], config: Any, *, data: Any, setting: Setting, metric: str
    ) -> None:
        self.epoch = 0
        self.began = 0.0
        """Start of the last epoch in seconds since 1970, which may be before its call of `run_epoch`."""
        self.run = LoopRun(setting, data=data, metric=metric)
        self.run._hand_over = self._hand_over
        self._train, self._config, self._setting = train, config, setting
        self._thread: threading.Thread | None = None
        self._worker_turn, self._code_turn, self._begun = (threading.Semaphore(0) for _ in range(3))
        self._event = ""
        self._pausing = False
        self._is_ahead = False
        """Whether the function already trains the next epoch."""
        self._returned: Any = None
        self._raised: BaseException | None = None
        self._kept: dict[str, Any] | None = None
        """The state after the last epoch, taken before the code behind the loop runs."""
        self._random: dict[str, Any] = {}
        self._began = 0.0
        self._seconds = 0.0

    @property
    def thread_id(self) -> int | None:
        """Identifier of the thread that runs the function; None before the first epoch."""
        return None if self._thread is None else self._thread.ident

    @property
    def random(self) -> dict[str, Any]:
        """The random states with which the next epoch begins; can be set until it does."""
        return self._random

    @random.setter
    def random(self, states: dict[str, Any]) -> None:
        self._random = states

    def start(self) -> None:
        """Run the function up to its first epoch, unless it is there."""
        if self._thread is None:
            self._resume()

    def run_epoch(self) -> dict[str, Any]:
        """Train one more epoch, and return what was reported, with the number of the epoch and its seconds.

        Raises:
            MisuseError: the function does not keep to the protocol.
            Exception: what the function raised.
        """
        if self.epoch >= self._setting.epochs:
            raise ValueError(f"all {self._setting.epochs} epochs are trained")
        self.start()
        if self._is_ahead:
            self._is_ahead = False
            self._worker_turn.acquire()
        elif self._event in ("ready", "epoch"):
            self._resume()
        if self._event == "epoch" and self.run._done == self._setting.epochs:
            self._kept = self._snapshot()
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
        """Tracked objects, `run.state`, the files of `run.folder` and the random states, as plain values.

        Raises:
            StateError: something in it cannot be stored safely; the line names it.
        """
        return self._kept if self._kept is not None else self._collect()

    def go_on(self) -> bool:
        """Begin the next epoch and return at once; tensors that `state` returned before change from now on.

        Returns:
            Whether it began; it does not after the last epoch, nor if epochs are long.
        """
        self._is_ahead = self._event == "epoch" and self._seconds <= AHEAD_SECONDS
        if self._is_ahead:
            self._code_turn.release()
            self._begun.acquire()  # otherwise the function waits until this thread releases the interpreter
        return self._is_ahead

    def restore(self, state: Mapping[str, Any]) -> None:
        """Run the function up to the next epoch, with everything that it tracks restored.

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
        self.start()
        if self._event != "returned" or not self.run._finished:
            raise self._failure()
        return self._returned

    def close(self) -> None:
        """Unwind the function where it waits, and remove its folder.

        Raises:
            StuckError: it does not end.
        """
        if self._thread is not None and self._thread.is_alive():
            self._pausing = True
            self._code_turn.release()
            self._thread.join(PAUSE_SECONDS)
            if self._thread.is_alive():
                raise StuckError(
                    f"the training code did not end within {PAUSE_SECONDS} s after its trial paused; a bare `except:` "
                    f"catches the pause: write `except Exception:` instead"
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

    def _snapshot(self) -> dict[str, Any]:
        """The state as it is now, which the code behind the loop does not change."""
        state, gathered = self._collect(), self.run._gathered
        return copied(state) if gathered is None else {**copied({**state, "objects": {}}), "objects": gathered}

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
            f"train returned in epoch {at} of {total}; let the loop over run.epochs run to its end (the search itself "
            f"stops bad trials), or raise an error to fail the trial"
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
        if self._is_ahead:
            self._begun.release()
        if self._pausing:
            raise Paused
        if self.run._fault is not None:
            raise self.run._fault
        set_random_states(self._random)  # whatever the worker drew meanwhile
        self._began, self.began = time.perf_counter(), time.time()
