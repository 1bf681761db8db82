"""The functions of a space of the user's own: an error in one of them becomes one line with the place in their code."""

import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

_OURS = Path(__file__).resolve().parents[1]
_PACKAGES = [f"{_OURS}/{name}/" for name in ("trainables", "search", "spaces")]
_NOT_THEIRS = "site-packages", os.path.dirname(os.__file__), "<frozen", "<string>", *_PACKAGES
"""Parts of the paths of files that are not the user's: of libraries, of Python, of Rungwise."""


class CodeError(ValueError):
    """A function of the user's own has failed; the message is complete, and the cause is the error itself."""


@dataclass(frozen=True)
class Guarded:
    """A function of one argument that raises CodeError where it fails or ends the program."""

    function: Callable[[Any], Any]
    name: str
    root: Path | None = None
    """The folder of the user's code; None where it is not known."""

    def __call__(self, given: Any) -> Any:
        try:
            return self.function(given)
        except (Exception, SystemExit) as error:
            if _is_of_values(error) or hasattr(error, "ray_terminate_msg"):  # with which Ray ends a worker
                raise
            raise CodeError(f"{self.name}() fails: {describe_error(error, root=self.root)}") from error


def _is_of_values(error: BaseException) -> bool:
    """Whether we have raised the error, about a value that `suggest` cannot get: it names the parameter and its
    range."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    is_raised_here = _real(frame.f_code.co_filename).startswith(tuple(_PACKAGES[1:]))
    return isinstance(error, ValueError) and is_raised_here


def describe_error(error: BaseException, *, root: Path | None = None) -> str:
    """An error of the user's own code in one line, with the file and line of their code, not of a library.

    Args:
        root: folder of their code, which may be among the installed packages.
    """
    frames = traceback.extract_tb(error.__traceback__)
    caused = traceback.extract_tb(error.__cause__.__traceback__) if error.__cause__ else []
    theirs = [one for one in frames if _is_theirs(one, root)] or [one for one in caused if _is_theirs(one, root)]
    frame = (theirs or frames or [None])[-1]
    where = f"{Path(frame.filename).name}, line {frame.lineno}: " if frame else ""
    return " ".join(f"{where}{type(error).__name__}: {error}".removesuffix(": ").split())[:500]


def reason_of(error: Exception) -> str:
    """Why a configuration is refused, in one line: what a ValueError says, or where the user's own code failed."""
    said = " ".join(f"{error}".split())[:500] if isinstance(error, ValueError) else ""
    return said or describe_error(error)


def _is_theirs(frame: traceback.FrameSummary, root: Path | None) -> bool:
    file, start = _real(frame.filename), f"{root}{os.sep}"
    inside = file.removeprefix(start) if root else file
    return not any(part in inside for part in _NOT_THEIRS) and not file.startswith(tuple(_PACKAGES))


@lru_cache(maxsize=1024)
def _real(file: str) -> str:
    """The path without links, as those of our own files here are."""
    return os.path.realpath(file) if os.path.isabs(file) else file
