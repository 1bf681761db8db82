"""What may be searched: each module defines SPACE, a pure function of an Optuna trial."""

import ast
import pkgutil
from difflib import get_close_matches
from pathlib import Path
from typing import Any

_NO_SPACES = ("asking", "space", "parts")


def available() -> tuple[str, ...]:
    """The names of the spaces: the files of this package that define one."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _NO_SPACES))


def check_name(name: str) -> None:
    """Raise ValueError, with the nearest name, unless there is such a space; imports none of them."""
    known = available()
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"unknown space {name[:80]!r}; available: {', '.join(known)}{hint}")


def stated(name: str) -> dict[str, Any]:
    """What the file of a space says of it in plain values (its data set, its epochs), read without importing torch.

    What it takes over from the space of another file is looked up there.
    """
    facts: dict[str, Any] = {}
    for line in ast.parse((Path(__file__).parent / f"{name}.py").read_text()).body:
        match line:
            case ast.Assign(targets=[ast.Name(id="SPACE")], value=ast.Call() as call):
                match call.args:
                    case [ast.Attribute(value=ast.Name(id=other), attr="SPACE")]:
                        facts |= stated(other)
                given = {word.arg: word.value for word in call.keywords if word.arg}
                facts |= {key: value.value for key, value in given.items() if isinstance(value, ast.Constant)}
    return facts
