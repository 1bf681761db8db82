"""The option --config: options of a search from a file, as if they stood before those on the command line."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from search.process.arguments import Flag, Several, parse
from search.session.options import FIELDS, Options
from search.session.rules import PRETRAINED
from search.session.taking import From
from search.session.tries import Tries
from trainables.data.names import did_you_mean, join_names
from trainables.files.settings import Settings, read_settings

_NOT_HERE = ("config", "resume")
"""Options that belong to one call, not to a file."""
_SEVERAL = (Several, Tries, From)
_OF_NEW_RUNS = ("try",)
"""Options that are for new runs only; a file that a resumed run is given may have them."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """The options of one call."""

    options: Options
    names: frozenset[str]
    """Those that were stated, on the command line or in the file."""
    file: Settings | None = None

    @contextmanager
    def naming_the_file(self) -> Iterator[None]:
        """Add the line of the file to errors about an option that comes from it."""
        try:
            yield
        except ValueError as error:
            raise ValueError(f"{error}{_place(str(error), self.file)}") from error


def read_options(argv: Sequence[str], *, prog: str) -> Given:
    """The options on the command line, and those of the file that --config names.

    An option on the command line replaces that of the file, also one that can be repeated.

    Raises:
        ValueError: an option is unknown or has the wrong type, in one line with the place in the file.
    """
    alone = parse(Options, list(argv), prog=prog)
    stated = frozenset(word[2:].split("=")[0].replace("-", "_") for word in argv if word.startswith("--"))
    if alone.config is None:
        return Given(options=alone, names=stated)
    file = _file(alone.config)
    words = {name: list(_words(name, value, file)) for name, value in _known(file).items() if name not in stated}
    if alone.resume:
        words = {name: found for name, found in words.items() if name not in _OF_NEW_RUNS}
    try:
        together = parse(Options, [*(word for found in words.values() for word in found), *argv], prog=prog)
    except ValueError as error:
        reason = str(error).rpartition("; see ")[0] or str(error)
        raise ValueError(f"{reason}{_place(reason, file)}") from None
    return Given(options=together, names=stated | {name for name, found in words.items() if found}, file=file)


def used(options: Options) -> dict[str, Any] | None:
    """The file of --config, and those of its options that this call uses; None without a file."""
    if options.config is None:
        return None
    file = _file(options.config)
    found = {}
    for name, value in _known(file).items():
        alone: Any = parse(Options, list(_words(name, value, file)), prog="")
        field = FIELDS.get(name, name)
        if getattr(alone, field) == getattr(options, field) or (name == "space" and _is_fitted(value, options.space)):
            found[name] = value
    return {"file": str(file.path), "options": found}


def _is_fitted(stated: str, used: str) -> bool:
    """Whether the data, or --backbone, have put a variant of the stated space in its place."""
    return used.partition("@")[0] in (stated, PRETRAINED if stated == "image_folder_arch" else stated)


@cache
def _file(path: str) -> Settings:
    """The file, read once, so that what the run keeps is what was used even if the file changes meanwhile."""
    return read_settings(Path(path), option="--config")


def _known(file: Settings) -> dict[str, Any]:
    """The values of the file by the name of their option, with underscores."""
    kinds = _kinds()
    found: dict[str, Any] = {}
    for key, value in file.values.items():
        name = key.replace("-", "_")
        if name in _NOT_HERE:
            raise ValueError(f"{file.at(key)}: {key} is given on the command line, not in a file of options")
        if name not in kinds:
            raise ValueError(f"{file.at(key)}: there is no option {key[:80]!r}{did_you_mean(name, kinds)}")
        if name in found:
            raise ValueError(f"{file.at(key)}: {key} appears twice")
        found[name] = value
    return found


def _kinds() -> dict[str, Any]:
    """The type of each option, by its name on the command line."""
    words = {field: word for word, field in FIELDS.items()}
    return {words.get(f.name, f.name): f.type for f in fields(Options) if f.name not in _NOT_HERE}


def _words(name: str, value: Any, file: Settings) -> Iterator[str]:
    """An option of the file as words of a command line; nothing for null."""
    kind, flag = _kinds()[name], f"--{name.replace('_', '-')}"
    if value is None:
        return
    if kind is Flag:
        if not isinstance(value, bool):
            raise ValueError(f"{file.at(name)}: {name} must be true or false, got {_shown(value)}")
        yield from [flag] if value else []
    elif any(kind is several for several in _SEVERAL):
        for one in _objectives(value, file) if name == "objective" else _several(value):
            yield from (flag, _text(one, name, file))
    elif name == "types" and isinstance(value, Mapping):
        yield from (flag, ",".join(join_names([f"{key}={_text(one, name, file)}"]) for key, one in value.items()))
    elif name == "drop" and isinstance(value, list):
        yield from (flag, join_names([_text(one, name, file) for one in value]))
    else:
        yield from (flag, _text(value, name, file))


def _several(value: Any) -> list[Any]:
    """The values of an option that can be repeated: one, a list, or a mapping such as `{depth: 2, lr: [0.1, 0.2]}`."""
    if isinstance(value, Mapping):
        return [name if one is None else f"{name}={_listed(one)}" for name, one in value.items()]
    return value if isinstance(value, list) else [value]


def _objectives(value: Any, file: Settings) -> Iterator[Any]:
    """The values of --objective: names, and mappings such as `{latency: min}`, alone or in a list."""
    for one in value if isinstance(value, list) else [value]:
        if not isinstance(one, Mapping):
            yield one
            continue
        for name, end in one.items():
            if end not in ("min", "max", None):
                raise ValueError(f"{file.at('objective')}: objective {name} must be min or max, got {_shown(end)}")
            yield f"{name}:{end}" if end else str(name)


def _listed(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _text(value: Any, name: str, file: Settings) -> str:
    if isinstance(value, bool | list | Mapping) or value is None:
        quotes = "; put it in quotes" if isinstance(value, bool) else ""
        raise ValueError(f"{file.at(name)}: {name} must be a text or a number, got {_shown(value)}{quotes}")
    return str(value)


def _shown(value: Any) -> str:
    said = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else None
    kinds = {dict: "names and values", list: "a list"}
    return said or kinds.get(type(value), repr(value)[:80])


def _place(error: str, file: Settings | None) -> str:
    """Where in the file the option is that an error names first; empty if it names none of the file."""
    if file is None:
        return ""
    keys = {key.replace("_", "-"): key for key in file.values}
    found = next((name for name in re.findall(r"--([a-z-]+)", error) if name in keys), None)
    return f" ({file.at(keys[found])})" if found else ""
