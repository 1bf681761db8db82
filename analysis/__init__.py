"""Reads studies and explains them. The modules here are commands; all else is in the packages below.

Imports search, spaces and trainables; only rungwise imports it. Knows no Ray.
"""

import warnings

import search  # noqa: F401  # pyright: ignore[reportUnusedImport] - first, so that Ctrl-C is quiet from here on

warnings.filterwarnings("ignore", "IProgress not found")  # tqdm's, as the first output of a notebook: no bar is drawn
