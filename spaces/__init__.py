"""What may be searched: each module defines SPACE, a pure function of an Optuna trial."""

import pkgutil
from difflib import get_close_matches

_NO_SPACES = ("space", "parts")


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
