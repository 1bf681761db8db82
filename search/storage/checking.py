"""A dataclass as JSON and back, with every value checked against the annotation of its field: type, range, choices."""

import json
import re
import types
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Built = TypeVar("Built")


@dataclass(frozen=True, kw_only=True)
class Range:
    """Bounds of a number, written in its annotation: `Annotated[int, Range(low=1)]`."""

    low: float
    high: float = float("inf")


@dataclass(frozen=True)
class Pattern:
    """A regular expression that a text must match as a whole, and the rule in words."""

    expression: str
    rule: str


def build(kind: type[Built], stored: Mapping[str, Any], *, name: str = "") -> Built:
    """The dataclass that these plain values describe. Unknown names, as a newer release may write them, are left out.

    Args:
        name: name of the value, for messages; empty for the outermost.

    Raises:
        TypeError: a field without a default is missing.
        ValueError: a value is of the wrong type or out of range: `reduction_factor must be at least 2, got 1`.
    """
    inner = f"{name}." if name else ""
    hints = _hints(kind)
    missing = [f.name for f in fields(kind) if _is_required(f) and f.name not in stored]  # type: ignore[arg-type]
    if missing:
        raise TypeError(
            f"{', '.join(inner + field for field in missing[:3])} {'is' if len(missing) == 1 else 'are'} missing"
        )
    return kind(**{field: _value(hints[field], stored[field], inner + field) for field in hints if field in stored})


def as_json(value: Any) -> str:
    """The JSON of a dataclass, from which `build` makes it again.

    Raises:
        ValueError: it would be another one, or cannot be built.
    """
    try:
        text = json.dumps(asdict(value), indent=2)
        again = build(type(value), json.loads(text))
    except TypeError as error:
        raise ValueError(f"{type(value).__name__} cannot be stored: {error}") from None
    for field in fields(value):
        if (kept := getattr(again, field.name)) != (stated := getattr(value, field.name)):
            raise ValueError(f"{field.name} cannot be stored: {stated!r} would be read as {kept!r}"[:300])
    return text


@cache
def _hints(kind: type) -> dict[str, Any]:
    known = {f.name for f in fields(kind)}
    return {name: hint for name, hint in get_type_hints(kind, include_extras=True).items() if name in known}


def _is_required(field: Any) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _value(hint: Any, value: Any, name: str) -> Any:
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin is Annotated:
        inner, *rules = get_args(hint)
        checked = _value(inner, value, name)
        for rule in rules:
            _check(rule, checked, name)
        return checked
    if origin in (Union, types.UnionType):
        return _one_of(get_args(hint), value, name)
    if origin is Literal:
        if not any(value == choice and type(value) is type(choice) for choice in get_args(hint)):
            raise _wrong(name, f"one of {', '.join(map(str, get_args(hint)))}", value)
        return value
    return _collection(hint, origin, value, name)


def _one_of(hints: tuple[Any, ...], value: Any, name: str) -> Any:
    if value is None and type(None) in hints:
        return None
    others = [hint for hint in hints if hint is not type(None)]
    for hint in others[:-1]:
        try:
            return _value(hint, value, name)
        except ValueError:
            continue
    return _value(others[-1], value, name)


def _collection(hint: Any, origin: Any, value: Any, name: str) -> Any:
    if is_dataclass(hint):
        if not isinstance(value, dict):
            raise _wrong(name, "an object", value)
        return build(hint, value, name=name)  # type: ignore[arg-type]
    if origin in (tuple, list):
        if not isinstance(value, list):
            raise _wrong(name, "a list", value)
        return origin(_value(get_args(hint)[0], item, f"{name}[{i}]") for i, item in enumerate(value))
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            raise _wrong(name, "an object", value)
        return {key: _value(get_args(hint)[1], item, f"{name}.{key}"[:80]) for key, item in value.items()}
    return _plain(hint, value, name)


def _plain(hint: Any, value: Any, name: str) -> Any:
    said = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}[hint]
    kinds = (int, float) if hint is float else (hint,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and hint is not bool):
        raise _wrong(name, said, value)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _wrong(name, "Unicode text", value) from None
    return value


def _check(rule: Any, value: Any, name: str) -> None:
    if isinstance(rule, Range) and not rule.low <= value <= rule.high:
        wanted = f"in [{rule.low:g}, {rule.high:g}]" if rule.high != float("inf") else f"at least {rule.low:g}"
        raise _wrong(name, wanted, value)
    if isinstance(rule, Pattern) and not re.fullmatch(rule.expression, value):
        raise _wrong(name, rule.rule, value)


def _wrong(name: str, wanted: str, value: Any) -> ValueError:
    try:
        shown = ascii(value)
    except ValueError:  # an integer of thousands of digits
        shown = type(value).__name__
    return ValueError(f"{name} must be {wanted}, got {shown if len(shown) <= 80 else shown[:80] + '...'}")
