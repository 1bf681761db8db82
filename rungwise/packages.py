"""Our packages, imported before a folder of the user's with the same name can be imported instead."""

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds this package and the others of this installation."""
_PACKAGES = ("search", "spaces", "trainables", "analysis")


def check_packages() -> None:
    """Import our packages.

    Raises:
        ImportError: a package of the user's with one of these names was imported first; the line names it.
    """
    before = list(sys.path)
    sys.path.insert(0, str(ROOT))
    try:
        for name in _PACKAGES:
            if not (ROOT / name).is_dir():
                continue  # on a node of a cluster, which gets only what trains
            found = Path(getattr(importlib.import_module(name), "__file__", None) or "nowhere").resolve()
            if not found.is_relative_to(ROOT):
                raise ImportError(
                    f"{found} is imported as {name!r}, which is also the name of a package of rungwise; rename your "
                    f"module (my_{name}), or import rungwise before it"
                )
    finally:
        sys.path[:] = before
