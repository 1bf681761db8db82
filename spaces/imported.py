"""Imports the module that defines a space of the user's own, with its folder on `sys.path`."""

import importlib
import importlib.machinery
import importlib.util
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from spaces.guarded import describe_error
from spaces.origin import PACKAGES, SHIPPED, Origin, check
from spaces.sources import read_sources

_versions: dict[str, tuple[Path, str]] = {}
"""Imported module of the user's -> its root, and the checksum of the code that was read."""
_importing: list[Path] = []
"""Files of spaces that are being imported, the innermost last."""


def is_importing() -> Path | None:
    """The file of a space that is being imported now; None if none is."""
    return _importing[-1] if _importing else None


def import_module(origin: Origin) -> ModuleType:
    """The module, imported again if its code has changed.

    Raises:
        ValueError: it cannot be imported; the line has the file, the line and the reason.
    """
    check(origin)
    name = _module_name(origin)
    version = origin.root, read_sources(origin).sha256
    if _versions.get(name) != version:
        _forget(name)
    if (known := sys.modules.get(name)) is not None and name in _versions:
        return known
    for package in PACKAGES[1:4]:  # ours come first: a folder of the user's own may have the same names
        importlib.import_module(package)
    _put_on_path(origin.root)
    _importing.append(origin.file)
    try:
        module = _imported(origin, name)
    except SystemExit:
        raise ValueError(
            f"{origin.file} ends the program while it is imported; put the code that runs it as a script under"
            f' `if __name__ == "__main__":`'
        ) from None
    except Exception as error:
        raise ValueError(f"{origin.file} cannot be imported: {describe_error(error, root=origin.home)}") from error
    finally:
        _importing.pop()
    _versions[name] = version
    return module


def _module_name(origin: Origin) -> str:
    """The name of the module: that of the file, unless a module that is not the user's already has this name."""
    if not origin.is_file:
        return origin.module
    taken = origin.module in PACKAGES or origin.module in sys.stdlib_module_names
    if not taken and origin.module not in _versions:
        taken = _is_elsewhere(origin)
    return f"{origin.module}_space" if taken else origin.module


def _is_elsewhere(origin: Origin) -> bool:
    known = sys.modules.get(origin.module)
    if known is not None:
        return Path(getattr(known, "__file__", None) or ".").resolve() != origin.file
    here = str(origin.root)
    rest = [entry for entry in sys.path if entry and Path(entry).resolve() != origin.root]
    found = importlib.machinery.PathFinder.find_spec(origin.module, rest)
    return found is not None and found.origin is not None and not found.origin.startswith(here)


def _imported(origin: Origin, name: str) -> ModuleType:
    if name == origin.module:
        importlib.invalidate_caches()
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, origin.file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _put_on_path(root: Path) -> None:
    """Put the folder of the space first on `sys.path`, as for a script in it, unless it would hide other modules.

    A `random.py` in it would hide Python's own from all libraries, a `search.py` ours from the processes that we start.
    """
    if str(root) in sys.path:
        return
    names = {path.stem for path in root.iterdir() if path.suffix == ".py" or path.is_dir()}
    place = len(sys.path) if names & sys.stdlib_module_names else 0
    sys.path.insert(place, str(root))
    if names & set(PACKAGES) and str(SHIPPED.parent) not in sys.path[:place]:
        sys.path.insert(place, str(SHIPPED.parent))


def _forget(name: str) -> None:
    """Forget a module that has changed, and those of its folder, so that they are read again."""
    if name not in _versions:
        return
    root, _ = _versions.pop(name)
    for known, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        inside = file is not None and Path(file).is_relative_to(root)
        if inside and known.split(".")[0] not in PACKAGES and "site-packages" not in str(file):
            del sys.modules[known]
            if compiled := getattr(module, "__cached__", None):  # Python compares only size and second of change
                with suppress(OSError):
                    Path(compiled).unlink(missing_ok=True)
    if str(root) in sys.path:
        sys.path.remove(str(root))
