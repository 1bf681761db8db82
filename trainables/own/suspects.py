"""Finds objects that the user's training code uses and does not track, and state that it leaves in its modules."""

import random
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_STATEFUL = (Optimizer, LRScheduler, torch.amp.GradScaler, *_GENERATORS)
_MAX_DEPTH = 3


def find_untracked(frames: Iterable[FrameType], tracked: Mapping[str, Any], *, root: Path) -> dict[str, bool]:
    """Optimizers, schedulers, scalers, models and generators that the user's code has and does not track.

    Args:
        frames: frames of the thread that runs the code, the innermost first.
        tracked: tracked objects by name.
        root: folder of the user's code.

    Returns:
        Object in words -> whether it always changes in training, which a model need not.
    """
    known = {id(thing) for thing in tracked.values()}
    known |= {id(part) for thing in tracked.values() if isinstance(thing, nn.Module) for part in thing.modules()}
    found: dict[int, tuple[str, bool]] = {}
    for frame in frames:
        if not Path(frame.f_code.co_filename).is_relative_to(root):
            continue
        for name, value in {**_own(frame.f_globals), **frame.f_locals}.items():
            for path, thing in _things(name, value, _MAX_DEPTH):
                if id(thing) not in known | set(found):
                    found[id(thing)] = f"{path} ({type(thing).__name__})", not isinstance(thing, nn.Module)
    return dict(found.values())


def _own(names: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in names.items() if not name.startswith("__")}


def _things(name: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Objects with a state in a value, and in the attributes of objects that belong to no library."""
    if isinstance(value, _STATEFUL):
        yield name, value
    elif isinstance(value, nn.Module):
        if any(True for _ in value.parameters()):
            yield name, value
    elif isinstance(value, torch.utils.data.DataLoader):
        for part in ("generator", "sampler"):
            inner = getattr(value, part, None)
            inner = getattr(inner, "generator", None) if part == "sampler" else inner
            if inner is not None:
                yield f"{name}.{part}", inner
    elif depth and isinstance(value, list | tuple) and len(value) <= 20:
        for index, part in enumerate(value):
            yield from _things(f"{name}[{index}]", part, depth - 1)
    elif depth and isinstance(value, dict) and len(value) <= 50:
        for key, part in value.items():
            yield from _things(f"{name}[{key!r}]", part, depth - 1)
    elif depth and hasattr(value, "__dict__") and _is_users(value):
        for key, part in vars(value).items():
            yield from _things(f"{name}.{key}", part, depth - 1)


def _is_users(value: Any) -> bool:
    """Whether the class of an object is the user's: of no installed library, and not of Rungwise."""
    if isinstance(value, type):
        return False
    module = sys.modules.get(type(value).__module__)
    file = str(getattr(module, "__file__", "") or "")
    ours = type(value).__module__.split(".")[0] in ("trainables", "spaces", "search", "rungwise", "analysis")
    return bool(file) and "site-packages" not in file and not ours and not file.startswith(sys.base_prefix)


def describe_globals(root: Path) -> dict[str, str]:
    """Name -> size or state of every container, cache and generator at the top level of the user's modules."""
    found = {}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file is None or not Path(file).is_relative_to(root) or "site-packages" in file:
            continue
        for name, value in _own(vars(module)).items():
            described = _describe(value)
            if described is not None:
                found[f"{module.__name__}.{name}"] = described
    return found


def changed_globals(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The globals that training has changed, in words."""
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return [f"{name} ({before.get(name, 'new')}, then {after.get(name, 'gone')})" for name in changed]


def _describe(value: Any) -> str | None:
    if isinstance(value, dict | list | set | bytearray):
        return f"{type(value).__name__} of {len(value)}"
    if hasattr(value, "cache_info"):
        return f"cache of {value.cache_info().currsize}"
    if isinstance(value, np.random.Generator):
        return f"generator at {hash(str(value.bit_generator.state)) % 10**6}"
    if isinstance(value, torch.Generator):
        return f"generator at {hash(value.get_state().numpy().tobytes()) % 10**6}"
    if isinstance(value, random.Random):
        return f"generator at {hash(value.getstate()) % 10**6}"
    return None if not isinstance(value, int | float | str) or isinstance(value, bool) else repr(value)[:40]
