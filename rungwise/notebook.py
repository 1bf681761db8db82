"""Writes a space that was defined in a notebook to a file: its functions, and what these use of the notebook.

Workers import that file like any other; it is kept with the run.
"""

import builtins
import dataclasses
import inspect
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spaces.space import Space

_PLAIN = (bool, int, float, str, bytes, type(None))
_FUNCTIONS = ("suggest", "train", "task", "data", "test", "costs", "workers")


def write_space(space: Space, path: Path) -> str:
    """Write the file, and return how the command names the space in it.

    Raises:
        ValueError: a function uses something of the notebook that cannot be written down; the line says what.
    """
    parts = _Parts()
    for name in _FUNCTIONS:
        function = getattr(space, name)
        if function is not None:
            parts.add_object(function.__name__, function, used_by=name)
    given = []
    for field in dataclasses.fields(space):
        value = getattr(space, field.name)
        if field.name in _FUNCTIONS:
            given += [f"{field.name}={value.__name__}"] if value is not None else []
        elif field.name != "references" and value != field.default:
            given.append(f"{field.name}={dict(value) if field.name == 'baseline' else value!r}")
    lines = [f'"""Written by rungwise from a notebook: {path.stem}."""', "", *parts.imports, "", *parts.values, ""]
    lines += [*parts.sources, f"SPACE = rw.Space({', '.join(given)})", ""]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))
    return f"{path.resolve()}:SPACE"


class _Parts:
    """The imports, values and source code of the file, each name once."""

    def __init__(self) -> None:
        self.imports = ["import rungwise as rw"]
        self.values: list[str] = []
        self.sources: list[str] = []
        self._seen = {"rw"}

    def add(self, name: str, value: Any, *, used_by: str) -> None:
        """Add a global name of the notebook with its value."""
        if name in self._seen:
            return
        if isinstance(value, types.ModuleType):
            self._seen.add(name)
            self.imports.append(f"import {value.__name__} as {name}" if value.__name__ != name else f"import {name}")
        elif _is_plain(value):
            self._seen.add(name)
            self.values.append(f"{name} = {value!r}")
        elif callable(value) and hasattr(value, "__module__") and hasattr(value, "__qualname__"):
            self.add_object(name, value, used_by=used_by)
        else:
            raise ValueError(
                f"{used_by} uses {name!r}, a {type(value).__name__} of the notebook that cannot be written to a file; "
                f"create it in the function, return it from data=, or put the space into a .py file"
            )

    def add_object(self, name: str, value: Any, *, used_by: str) -> None:
        """Add a function or a class: its import, or its source with all that it needs."""
        if name in self._seen:
            return
        self._seen.add(name)
        if value.__module__ != "__main__":
            what = value.__qualname__
            self.imports.append(f"from {value.__module__} import {what}" + (f" as {name}" if name != what else ""))
            return
        if getattr(value, "__name__", "") == "<lambda>" or getattr(value, "__closure__", None):
            raise ValueError(f"{used_by} must be a plain function at the top of a cell, not a lambda or a closure")
        try:
            source = textwrap.dedent(inspect.getsource(value))
        except (OSError, TypeError):
            raise ValueError(f"the source code of {name} is not available; put the space into a .py file") from None
        for needed, found in _globals(value):
            self.add(needed, found, used_by=name)
        self.sources += [source.rstrip(), "", ""]


def _globals(value: Any) -> Iterator[tuple[str, Any]]:
    """The global names that a function, or a class with its methods, uses, and their values."""
    for function in _functions(value):
        for name in _names(function.__code__):
            if name in function.__globals__ and not hasattr(builtins, name):
                yield name, function.__globals__[name]
    for base in getattr(value, "__bases__", ()):
        if base.__module__ == "__main__":
            yield base.__name__, base
    if isinstance(value, type):  # names used by its bases, decorators and fields
        main = next((f.__globals__ for f in _functions(value)), {})
        tree = compile(textwrap.dedent(inspect.getsource(value)), "cell", "exec")
        yield from ((name, main[name]) for name in _names(tree) if name in main and main[name] is not value)


def _functions(value: Any) -> list[types.FunctionType]:
    if isinstance(value, types.FunctionType):
        return [value]
    members = vars(value).values() if isinstance(value, type) else ()
    plain = (getattr(member, "__func__", getattr(member, "fget", member)) for member in members)
    return [member for member in plain if isinstance(member, types.FunctionType)]


def _names(code: types.CodeType) -> list[str]:
    inner = [name for part in code.co_consts if isinstance(part, types.CodeType) for name in _names(part)]
    return [*code.co_names, *inner]


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple | set):
        return type(value) in (list, tuple, set) and all(map(_is_plain, value))
    if isinstance(value, dict):
        return type(value) is dict and all(_is_plain(k) and _is_plain(v) for k, v in value.items())
    return type(value) in _PLAIN
