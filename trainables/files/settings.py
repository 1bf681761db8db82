"""Reads files of settings in YAML, JSON or TOML: plain values, and the line of each for messages."""

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, time
from pathlib import Path
from typing import Any

ENDINGS = (".yaml", ".yml", ".json", ".toml")
_MOST_BYTES = 200_000
"""A larger file holds no settings."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a file says."""

    path: Path
    values: dict[str, Any]
    lines: dict[tuple[str | int, ...], int] = field(default_factory=dict)
    """Line by the keys that lead to a value, from the outermost."""

    def at(self, *keys: str | int) -> str:
        """Where a value is: `my.yaml, line 3`; the nearest value around it whose line is known."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.lines:
                return f"{self.path}, line {self.lines[keys[:length]]}"
        return str(self.path)


def read_settings(path: Path, *, option: str) -> Settings:
    """The values in a file; numbers such as 1e-4 are numbers, and only `true` and `false` are truth values.

    Args:
        path: a name that ends in .yaml, .yml, .json or .toml.
        option: the option that names the file, for messages.

    Raises:
        ValueError: it cannot be read, or is no mapping of names to values; the line has the file and the place.
    """
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"{option} must name a file that ends in {', '.join(ENDINGS)}, got {str(path)[:200]!r}")
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"{option} {path}: a file of settings has at most {_MOST_BYTES:,} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"{option} {path} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{option} {path} is not UTF-8 ({error.reason} at byte {error.start})") from None
    read = {".json": _read_json, ".toml": _read_toml}.get(path.suffix.lower(), _read_yaml)
    try:
        values, lines = read(text, path)
    except RecursionError:
        raise ValueError(f"{option} {path} is nested too deeply") from None
    if not isinstance(values, dict) or not values:
        raise ValueError(f"{option} {path} must contain names and values, such as `trials: 40`")
    return Settings(path=path, values=values, lines=lines)


def _read_json(text: str, path: Path) -> tuple[Any, dict[tuple[str | int, ...], int]]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{path}: {twice[:80]!r} appears twice")
        return dict(pairs)

    try:
        values = json.loads(text, object_pairs_hook=once, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno} is not JSON: {error.msg}") from None
    try:
        _, lines = _read_yaml(text.replace("\t", " "), path)  # JSON is YAML, apart from tabs
    except ValueError:
        lines = {}
    return values, lines


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not a number of JSON; give a finite number")


def _read_toml(text: str, path: Path) -> tuple[Any, dict[tuple[str | int, ...], int]]:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not TOML: {error}") from None
    lines: dict[tuple[str | int, ...], int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if found := re.match(r"""\s*(?:\[\s*)?["']?([\w-]+)["']?\s*(?:=|\])""", line):
            lines.setdefault((found[1],), number)
    return _plain(values), lines


def _plain(value: Any) -> Any:
    """Dates as text."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.isoformat() if isinstance(value, date | time) else value


def _read_yaml(text: str, path: Path) -> tuple[Any, dict[tuple[str | int, ...], int]]:
    import yaml  # imported here, so that commands without such a file start faster

    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise ValueError(f"{path}: names for parts of the file (&name, *name) are not supported; repeat the part")
        node = yaml.compose(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ValueError(f"{path}{where} is not YAML: {reason}") from None
    lines: dict[tuple[str | int, ...], int] = {}
    return (None if node is None else _value(node, path, (), lines)), lines


def _value(node: Any, path: Path, keys: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]) -> Any:
    import yaml

    lines.setdefault(keys, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        return [_value(one, path, (*keys, i), lines) for i, one in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for name, one in _entries(node, path):
            if name in found:
                raise ValueError(f"{path}, line {one.start_mark.line + 1}: {name[:80]!r} appears twice")
            found[name] = _value(one, path, (*keys, name), lines)
        return found
    return _scalar(node.value) if node.style is None else node.value


def _entries(node: Any, path: Path) -> Iterator[tuple[str, Any]]:
    import yaml

    for key, one in node.value:
        if not isinstance(key, yaml.ScalarNode) or not key.value:
            raise ValueError(f"{path}, line {key.start_mark.line + 1}: a name is needed before the colon")
        yield key.value, one


def _scalar(text: str) -> Any:
    """A word without quotes: nothing, a truth value, a number, or a text (as in YAML 1.2)."""
    known = {"": None, "~": None, "null": None, "true": True, "false": False}
    if text.lower() in known:
        return known[text.lower()]
    if re.fullmatch(r"[-+]?\d{1,4000}", text):
        return int(text)
    if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text):
        return float(text)
    return text
