"""`rw.search(SPACE, trials=40)`: runs the command `rungwise search` from a script or a notebook."""

import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from rungwise.notebook import write_space
from rungwise.process import call
from rungwise.run import FinishedRun
from spaces.imported import is_importing
from spaces.origin import short_name
from spaces.space import Space
from trainables.data.names import did_you_mean

_NOT_HERE = ("space", "dry_run")


def search(
    space: Space | str, *, name: str | None = None, runs_dir: str | Path = "runs", **options: Any
) -> FinishedRun:
    """Search a space, and return the run.

    The search runs in separate processes, which import the file that defines the space. In a script, call this under
    `if __name__ == "__main__":`. In a notebook, the functions of the space are written to a file.

    Args:
        space: at the top level of a module, a script or a notebook; or a name, as for the option --space.
        name: name of the run; the space and the time if None.
        runs_dir: folder that holds all runs.
        options: options of the command, such as `trials=40`, `max_epochs=9`, `seed=1` or `resume=True`.

    Raises:
        ValueError: the space or an option is not valid.
        RuntimeError: the search failed, or no trial was usable; finished epochs are saved.
    """
    importing = is_importing()
    if importing is not None:
        raise RuntimeError(
            f"rw.search is called while {importing.name} is imported, and every worker imports it; put the call under"
            ' `if __name__ == "__main__":`'
        )
    _check(options)
    runs_dir = Path(runs_dir)
    label = short_name(space) if isinstance(space, str) else _label(space)
    name = name or f"{label}-{time.strftime('%Y%m%d-%H%M%S')}"
    reference = space if isinstance(space, str) else reference_of(space, folder=runs_dir / ".spaces", name=name)
    given = {"space": reference, "name": name, "runs_dir": runs_dir, **options}
    call("search.run", [], given)
    return FinishedRun(runs_dir / name)


def reference_of(space: Space, *, folder: Path, name: str) -> str:
    """The value of --space for this space.

    Args:
        folder: where the space of a notebook is written.
        name: name of that file.

    Raises:
        ValueError: the space is no variable at the top level of a module.
    """
    for module in (sys.modules.get(getattr(space.suggest, "__module__", "")), *list(sys.modules.values())):
        found = next((key for key, value in vars(module).items() if value is space), None) if module else None
        if module is None or found is None:
            continue
        file = getattr(module, "__file__", None)
        if file is None or (module.__name__ == "__main__" and "ipykernel" in str(file)):
            return write_space(space, folder / f"{name.replace('-', '_').replace('.', '_')}.py")
        if module.__name__.startswith("spaces."):
            return module.__name__.removeprefix("spaces.")
        if "." in module.__name__:
            root = Path(file).resolve().parents[module.__name__.count(".") + (Path(file).name == "__init__.py")]
            return f"{root}//{module.__name__}:{found}"
        return f"{Path(file).resolve()}:{found}"
    raise ValueError("the space must be a variable at the top of your file or notebook: SPACE = rw.Space(...)")


def _label(space: Space) -> str:
    module = sys.modules.get(getattr(space.suggest, "__module__", ""))
    file = getattr(module, "__file__", None)
    return Path(file).stem if file and Path(file).stem.isidentifier() else "search"


def _check(options: dict[str, Any]) -> None:
    from search.session.options import Options

    known = [field.name for field in fields(Options) if field.name not in _NOT_HERE]
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ValueError(f"search has no option {name!r}{hint}; see rungwise search --help")
