"""Finds images that are on both sides of a split, which makes scores too optimistic."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainables.images.listing import shown


def note_copied_files(data_dir: Path, test: Sequence[Path], train: Sequence[Path]) -> tuple[str, ...]:
    """A note if files of the test set are identical to files of the training set; nothing is decoded."""
    sizes: dict[int, list[Path]] = defaultdict(list)
    for path in train:
        sizes[os.stat(path).st_size].append(path)
    known: dict[bytes, Path] = {}
    for size in {os.stat(path).st_size for path in test} & sizes.keys():
        known |= {_file_digest(path): path for path in reversed(sizes[size])}
    digests = ((path, _file_digest(path)) for path in test if os.stat(path).st_size in sizes)
    copies = [(path, known[digest]) for path, digest in digests if digest in known]
    if not copies:
        return ()
    first, second = (shown(path.relative_to(data_dir)) for path in copies[0])
    other = sum(one.parent.name != two.parent.name for one, two in copies)
    return (
        f"{len(copies):,} of {len(test):,} test images are copies of training images ({first} = {second})"
        f"{_in_other_classes(other)}, so the test score will be too optimistic; remove one of each pair",
    )


def note_copied_rows(
    x: np.ndarray, y: np.ndarray, files: Sequence[str], *, validation: np.ndarray, training: np.ndarray
) -> tuple[str, ...]:
    """A note if validation rows have the same pixels as training rows.

    Args:
        x: uint8 (N, H, W, C).
        y: labels (N,).
        files: name of the file of each row.
        validation: numbers of the validation rows.
        training: numbers of the training rows.
    """
    known = {_row_digest(x[row]): row for row in reversed(training)}
    digests = ((row, _row_digest(x[row])) for row in validation)
    copies = [(row, known[digest]) for row, digest in digests if digest in known]
    if not copies:
        return ()
    first, second = (files[row] for row in copies[0])
    other = sum(int(y[one] != y[two]) for one, two in copies)
    return (
        f"{len(copies):,} of {len(validation):,} validation images have the pixels of training images ({first} ="
        f" {second}){_in_other_classes(other)}, so validation scores will be too optimistic; remove one of each pair",
    )


def _in_other_classes(count: int) -> str:
    return f", {count:,} of them in a different class" if count else ""


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _row_digest(row: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(row).data, digest_size=16).digest()
