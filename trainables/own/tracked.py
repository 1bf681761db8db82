"""The states of objects that training code tracks: models, optimizers, schedulers, generators of random numbers."""

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from trainables.own.stored import from_plain, to_plain
from trainables.trainable import MisuseError, StateError


def unwrapped(thing: Any) -> Any:
    """The model inside of what `run.prepare` returned, so that its state is the same with any number of workers."""
    return thing.module if isinstance(thing, nn.parallel.DistributedDataParallel) else thing


def is_trackable(thing: object) -> bool:
    """Whether the object has a state that can be taken and put back."""
    if isinstance(thing, torch.Generator | np.random.Generator | random.Random):
        return True
    return callable(getattr(thing, "state_dict", None)) and callable(getattr(thing, "load_state_dict", None))


def state_of(thing: Any, name: str, *, change: Callable[[Any], Any] = lambda state: state) -> Any:
    """The object's state as tensors and plain values, which share its memory.

    Args:
        change: applied to what its `state_dict` returns.

    Raises:
        MisuseError: it has no state.
        StateError: something in it cannot be stored safely.
    """
    match thing:
        case torch.Generator():
            return thing.get_state()
        case np.random.Generator():
            return to_plain(dict(thing.bit_generator.state), name)
        case random.Random():
            version, words, gauss = thing.getstate()
            return [version, list(words), gauss]
    if not is_trackable(thing):
        raise MisuseError(
            f"run.track({name}=...) needs an object with state_dict and load_state_dict, got a"
            f" {type(thing).__name__}; keep plain values in run.state, and files in run.folder"
        )
    return to_plain(change(thing.state_dict()), f"the state of {name!r}")


def load_state(thing: Any, name: str, stored: Any, *, change: Callable[[Any], Any] = lambda state: state) -> None:
    """Restore the state that `state_of` returned.

    Args:
        change: applied to what its `load_state_dict` gets.

    Raises:
        StateError: the state is of another object.
    """
    try:
        match thing:
            case torch.Generator():
                thing.set_state(stored)
            case np.random.Generator():
                thing.bit_generator.state = from_plain(stored)
            case random.Random():
                version, words, gauss = stored
                thing.setstate((version, tuple(words), gauss))
            case _:
                thing.load_state_dict(change(from_plain(stored)))
    except (RuntimeError, TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise StateError(f"{name!r} does not fit: {reason}") from error


def weights_of(objects: Mapping[str, Any]) -> int:
    """Number of parameters of all tracked modules; shared ones count once, copies such as a moving average do not
    count.

    A module is a copy if it has the shapes of another one that a tracked optimizer trains, and none trains it.
    """
    modules = [thing for thing in objects.values() if isinstance(thing, nn.Module)]
    optimizers = [thing for thing in objects.values() if isinstance(thing, torch.optim.Optimizer)]
    trained = {id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    originals = [module for module in modules if any(id(p) in trained for p in module.parameters())]
    shapes = {_shapes(module) for module in originals}
    counted = originals + [module for module in modules if _shapes(module) not in shapes]
    return sum({id(p): p.numel() for module in counted for p in module.parameters()}.values())


def _shapes(module: nn.Module) -> tuple[torch.Size, ...]:
    return tuple(parameter.shape for parameter in module.parameters())
