"""Versions of Python and of the packages that results depend on; imports none of them."""

import platform
from contextlib import suppress
from importlib import metadata

_PACKAGES = ("rungwise", "torch", "torchvision", "ray", "optuna", "numpy", "scikit-learn")


def versions() -> dict[str, str]:
    """Package -> version, for the packages that are installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
