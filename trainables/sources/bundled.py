"""Data files that come with scikit-learn, read without importing it."""

from importlib.util import find_spec
from pathlib import Path


def data_file(name: str) -> Path:
    """The path of a file that scikit-learn ships; importing scikit-learn for it would take seconds."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise ValueError(f"{name} is part of scikit-learn, which is not installed; pip install scikit-learn")
    return Path(package.origin).parent / "datasets" / "data" / name
