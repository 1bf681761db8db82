"""The task of a search of the user's own code: a loop or a class, its data and its costs."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.own.conditions import Conditions
from trainables.own.loop import Loop
from trainables.own.looprun import LoopRun
from trainables.own.randomness import random_states, seed_everything, set_random_states
from trainables.own.reported import checked
from trainables.own.stored import from_plain, to_plain
from trainables.trainable import MisuseError, RestoreError, Selection, Setting, StateError, Trainable, close


@dataclass(frozen=True, kw_only=True)
class OwnData:
    """The return value of the user's `data()`, with a checksum of the arrays, tensors and plain values in it."""

    value: Any
    checksum: str


@dataclass(frozen=True, kw_only=True)
class OwnTask:
    """Trains by the user's own `train(config, run)`, or by the class `task(config, run)`."""

    metric: str
    train: Callable[[Any, LoopRun], Any] | None = None
    task: Callable[[Any, Conditions], Trainable] | None = None
    data: Callable[[], Any] | None = None
    cost: Callable[..., Mapping[str, float]] | None = None

    def load(self, selection: Selection) -> OwnData:
        """Call `data()`, which decides itself what it reads; `selection` does not apply."""
        value = None if self.data is None else self.data()
        return OwnData(value=value, checksum=checksum(value))

    def pack(self, data: OwnData) -> Any:
        """The data with tensors on the CPU as arrays, which workers share."""
        return _map(data.value, lambda x: _Packed(x.numpy()) if isinstance(x, Tensor) and _shares(x) else x)

    def unpack(self, packed: Any, *, device: str) -> OwnData:
        """The data, sharing the memory of the arrays; `train` moves them to its device."""
        return OwnData(value=_map(packed, lambda x: x.unpack() if isinstance(x, _Packed) else x), checksum="")

    def build(self, config: Any, data: OwnData, setting: Setting) -> Trainable:
        """The loop, or the class of the user's own."""
        if self.train is not None:
            return Loop(self.train, config, data=data.value, setting=setting, metric=self.metric)
        assert self.task is not None
        return OwnTraining(self.task, config, data=data.value, setting=setting, metric=self.metric)

    def costs(self, config: Any, data: OwnData) -> dict[str, float]:
        """The costs of the configuration by `Space(costs=...)`.

        Raises:
            ValueError: it returns something other than numbers by name.
        """
        if self.cost is None:
            return {}
        found = self.cost(config)
        if not isinstance(found, Mapping):
            raise ValueError(f"costs(config) must return numbers by name, such as {{'weights': 12000}}, got {found!r}")
        numbers = {}
        for name, given in found.items():
            value: Any = given.item() if isinstance(given, np.generic | Tensor) else given
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"costs(config) must return numbers by name, got {name}={value!r}")
            numbers[str(name)] = value
        return numbers


class OwnTraining:
    """A class of the user's own: checks its metrics, and stores the global random states with its state."""

    def __init__(
        self,
        task: Callable[[Any, Conditions], Trainable],
        config: Any,
        *,
        data: Any,
        setting: Setting,
        metric: str,
    ) -> None:
        self._setting, self._metric = setting, metric
        torch.set_num_threads(setting.threads)
        seed_everything(setting.seed)
        self.run = Conditions(setting, data=data)
        self.inner = task(config, self.run)
        missing = [name for name in ("run_epoch", "state", "restore") if not callable(getattr(self.inner, name, None))]
        if missing or not hasattr(self.inner, "epoch"):
            named = ", ".join([*missing, *([] if hasattr(self.inner, "epoch") else ["epoch"])])
            raise MisuseError(
                f"{type(self.inner).__name__} lacks {named}; a Trainable has epoch, run_epoch, state, restore"
            )

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return int(self.inner.epoch)

    @property
    def random(self) -> dict[str, Any]:
        """The random states with which the next epoch begins; can be set until it does."""
        return random_states()

    @random.setter
    def random(self, states: dict[str, Any]) -> None:
        set_random_states(states)

    def run_epoch(self) -> dict[str, Any]:
        """Train one more epoch, and return its metrics and its number.

        Raises:
            MisuseError: the class does not follow the protocol.
        """
        number = self.epoch + 1
        self.run._check_prepared()
        metrics = self.inner.run_epoch()
        if not isinstance(metrics, Mapping):
            raise MisuseError(f"run_epoch must return metrics by name, got {type(metrics).__name__}")
        if self.epoch != number:
            raise MisuseError(f"run_epoch must increase epoch by one, to {number}, got {self.epoch}")
        is_told = self._setting.rank == 0
        found = checked(metrics, metric=self._metric, epoch=number, final=self._setting.final) if is_told else {}
        return {"epoch": number, **found}

    def state(self) -> dict[str, Any]:
        """The state of the class, the files of `run.folder` and the random states, as plain values."""
        return {
            "epoch": self.epoch,
            "epochs": self._setting.epochs,
            "seed": self._setting.seed,
            "own": to_plain(self.inner.state(), "state()"),
            "files": self.run._folder.read(),
            "random": random_states(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken.

        Raises:
            StateError: it belongs to another training.
            RestoreError: the class itself fails to continue from it.
        """
        for name in ("epochs", "seed"):
            if state[name] != getattr(self._setting, name):
                raise StateError(f"of a training with {name}={state[name]}")
        self.run._folder.write(state["files"])
        own = from_plain(state["own"])
        try:
            self.inner.restore(own)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            where, what = f"{type(self.inner).__name__}.restore", f"{type(error).__name__}: {error}".removesuffix(": ")
            raise RestoreError(f"{where} fails: {what}") from error
        if self.epoch != state["epoch"]:
            raise StateError(f"restore left epoch {self.epoch}, the state is of epoch {state['epoch']}")
        set_random_states(state["random"])

    def result(self) -> Any:
        """The object itself, which `test(model, run)` gets."""
        return self.inner

    def close(self) -> None:
        """Remove its folder."""
        close(self.inner)
        self.run._folder.remove()


@dataclass(frozen=True)
class _Packed:
    """A tensor on its way to a worker."""

    array: np.ndarray = field(repr=False)

    def unpack(self) -> Tensor:
        return torch.from_numpy(self.array) if self.array.flags.writeable else _over_read_only(self.array)


def _over_read_only(array: np.ndarray) -> Tensor:
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writ")
        return torch.from_numpy(array)


def _shares(tensor: Tensor) -> bool:
    plain = type(tensor) is Tensor and tensor.device.type == "cpu" and tensor.layout == torch.strided
    return plain and not tensor.requires_grad and tensor.dtype not in (torch.bfloat16,) and not tensor.is_conj()


def _map(value: Any, change: Callable[[Any], Any]) -> Any:
    """The value with `change` applied to the leaves of dicts, lists, tuples and dataclasses."""
    kind = type(value)
    if kind is dict:
        return {key: _map(part, change) for key, part in value.items()}
    if kind is list or kind is tuple:
        return kind(_map(part, change) for part in value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return kind(*(_map(part, change) for part in value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type | _Packed):
        parts = {f.name: _map(getattr(value, f.name), change) for f in dataclasses.fields(value) if f.init}
        return dataclasses.replace(value, **parts)
    return change(value)


def arrays_in(value: Any) -> list[tuple[str, Any]]:
    """The arrays and tensors of at least two rows in a value, with a name for each."""
    found: list[tuple[str, Any]] = []

    def look(part: Any, name: str) -> None:
        if isinstance(part, dict):
            for key, inner in part.items():
                look(inner, f"{name}[{key!r}]")
        elif isinstance(part, list | tuple):
            for index, inner in enumerate(part):
                look(inner, f"{name}[{index}]")
        elif dataclasses.is_dataclass(part) and not isinstance(part, type):
            for inner in dataclasses.fields(part):
                look(getattr(part, inner.name), f"{name}.{inner.name}")
        elif isinstance(part, Tensor | np.ndarray) and part.ndim and len(part) > 1:
            found.append((name, part))

    look(value, "run.data")
    return found


def with_array(value: Any, old: Any, new: Any) -> Any:
    """The value with another array in the place of one."""
    return _map(value, lambda part: new if part is old else part)


def checksum(value: Any) -> str:
    """sha256 over the arrays, tensors and plain values in a value, in their order."""
    digest = hashlib.sha256()

    def add(part: Any) -> Any:
        if isinstance(part, Tensor):
            part = part.detach().cpu()
            part = (part.float() if part.dtype == torch.bfloat16 else part).numpy()
        if isinstance(part, np.ndarray) and not part.dtype.hasobject:
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            plain = isinstance(part, str | bytes | int | float | bool | type(None))
            digest.update((repr(part) if plain else type(part).__qualname__).encode())
        return part

    _map(value, add)
    return digest.hexdigest()
