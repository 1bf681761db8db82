"""Converts the state of the user's code into tensors and plain values, which load without unpickling."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from trainables.trainable import StateError

_ARRAY, _TEXTS, _SCALAR = "~array", "~texts", "~scalar"
_MARKS = (_ARRAY, _TEXTS, _SCALAR)
_PLAIN = (bool, int, float, str, bytes, complex, type(None), torch.dtype, torch.device, torch.Size)
_WAY_OUT = (
    "only numbers, strings, bytes, tensors, arrays, and lists and dicts of them can be stored; leave it out of the "
    "state, or convert it"
)


def to_plain(value: Any, where: str) -> Any:  # noqa: PLR0911 - one for each kind
    """The value with arrays as tensors, ready for a checkpoint; tensors are not copied.

    Args:
        value: tensors, arrays, plain values, and dicts, lists, tuples of them.
        where: name of the value, for the error.

    Raises:
        StateError: something in it cannot be stored safely; the line names its place.
    """
    match value:
        case torch.nn.Parameter():
            return value.detach()
        case torch.Tensor():
            if type(value) is not torch.Tensor:
                raise StateError(f"{where} is a {_type_name(value)}, not a plain tensor; {_WAY_OUT}")
            return value
        case np.ndarray():
            return _array(value, where)
        case np.generic():
            return _array(np.asarray(value), where) | {_SCALAR: True}
        case Mapping():
            return _mapping(value, where)
        case list():
            return [to_plain(part, f"{where}[{i}]") for i, part in enumerate(value)]
        case tuple() if not isinstance(value, torch.Size):
            return tuple(to_plain(part, f"{where}[{i}]") for i, part in enumerate(value))
        case _ if type(value) in _PLAIN:
            return value
    raise StateError(f"{where} is a {_type_name(value)}, which cannot be stored safely; {_WAY_OUT}")


def from_plain(value: Any) -> Any:
    """The value that was given to `to_plain`; a named tuple becomes a plain one."""
    if isinstance(value, dict):
        if _ARRAY in value:
            return _as_array(value)
        if not isinstance(value, OrderedDict):
            return {key: from_plain(part) for key, part in value.items()}
        return _with_versions(OrderedDict((key, from_plain(part)) for key, part in value.items()), value)
    if isinstance(value, list):
        return [from_plain(part) for part in value]
    if isinstance(value, tuple) and not isinstance(value, torch.Size):
        return tuple(from_plain(part) for part in value)
    return value


def copied(value: Any) -> Any:
    """A plain value whose tensors share no memory with it."""
    return mapped(value, lambda tensor: tensor.detach().clone())


def mapped(value: Any, change: Callable[[torch.Tensor], Any]) -> Any:
    """The value with `change` applied to the tensors in its dicts, lists and tuples."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, dict):
        found = ((key, mapped(part, change)) for key, part in value.items())
        return _with_versions(OrderedDict(found), value) if isinstance(value, OrderedDict) else dict(found)
    if isinstance(value, list):
        return [mapped(part, change) for part in value]
    if isinstance(value, tuple) and not isinstance(value, torch.Size):
        return tuple(mapped(part, change) for part in value)
    return value


def difference(first: Any, second: Any, where: str = "") -> str | None:  # noqa: PLR0911
    """The first place at which two plain values differ, bit by bit: `model.0.weight`; None if they are equal."""
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        same = first.dtype == second.dtype and first.shape == second.shape and _bits(first) == _bits(second)
        return None if same else where
    if type(first) is not type(second):
        return where
    if isinstance(first, dict):
        if list(first) != list(second):
            return where
        return next((d for key in first if (d := difference(first[key], second[key], _inside(where, key)))), None)
    if isinstance(first, list | tuple):
        if len(first) != len(second):
            return where
        pairs = enumerate(zip(first, second, strict=True))
        return next((d for i, (one, other) in pairs if (d := difference(one, other, _inside(where, i)))), None)
    return None if first == second or (first != first and second != second) else where  # noqa: PLR0124 - NaN


def count_bytes(value: Any) -> int:
    """Bytes of the tensors in a plain value."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(map(count_bytes, value.values()))
    return sum(map(count_bytes, value)) if isinstance(value, list | tuple) else 0


def _mapping(value: Mapping[Any, Any], where: str) -> dict[Any, Any]:
    for key in value:
        if type(key) not in (str, int, bool, float, tuple):
            raise StateError(f"{where} has a key of type {_type_name(key)}; use strings or numbers as keys")
        if key in _MARKS:
            raise StateError(f"{where} has the key {key!r}, which is reserved in checkpoints; rename it")
    found = ((key, to_plain(part, f"{where}[{key!r}]")) for key, part in value.items())
    return _with_versions(OrderedDict(found), value) if isinstance(value, OrderedDict) else dict(found)


def _with_versions(new: OrderedDict, old: Any) -> OrderedDict:
    """The dict with the attribute in which the `state_dict` of a module keeps the versions of its parts."""
    if hasattr(old, "_metadata"):
        new._metadata = old._metadata  # pyright: ignore[reportAttributeAccessIssue]
    return new


def _array(value: np.ndarray, where: str) -> dict[str, Any]:
    if value.dtype.kind == "U":
        texts = [str(text) for text in value.ravel()]
        return {_ARRAY: None, _TEXTS: texts, "dtype": value.dtype.str, "shape": list(value.shape)}
    if value.dtype.hasobject or value.dtype.names:
        raise StateError(f"{where} is an array of {value.dtype}, which cannot be stored safely; {_WAY_OUT}")
    data = torch.frombuffer(bytearray(value.tobytes()), dtype=torch.uint8) if value.nbytes else torch.zeros(0)
    return {_ARRAY: data, "dtype": value.dtype.str, "shape": list(value.shape)}


def _as_array(stored: dict[str, Any]) -> Any:
    if _TEXTS in stored:
        dtype = stored.get("dtype", np.str_)  # earlier releases did not store it
        array = np.array(stored[_TEXTS], dtype=dtype).reshape(stored["shape"])
    else:
        data = stored[_ARRAY].numpy().tobytes() if stored[_ARRAY].dtype == torch.uint8 else b""
        array = np.ndarray(stored["shape"], dtype=np.dtype(stored["dtype"]), buffer=bytearray(data))
    return array[()] if stored.get(_SCALAR) else array


def _bits(tensor: torch.Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def _inside(where: str, key: Any) -> str:
    return f"{where}.{key}" if where else str(key)


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__name__}"
