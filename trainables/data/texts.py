"""Columns of free text, as numbers that a network can read.

A text is cut into pieces of three and four characters, which are counted in hashed bins. The logarithms of the counts
are normalised, weighted by how rare a piece is, and projected to the directions in which the training texts differ most
(latent semantic analysis, Deerwester et al. 1990). No target takes part, and misspelt or inflected words keep most of
their pieces.
"""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from trainables.data.sample import sample_rows

NUMBERS = 16
"""Numbers of each text, at most."""
BINS = 4096
_MOST_ROWS = 50_000
"""Training rows whose texts are looked at."""
_STORED = np.dtype("<f2")


def fit_texts(texts: Sequence[str]) -> tuple[str, ...]:
    """The weights of each number, as `project` takes them.

    Args:
        texts: of the training rows; empty ones are missing.

    Returns:
        At most `NUMBERS`; fewer for few different texts, and none for a single one.
    """
    from sklearn.decomposition import TruncatedSVD

    looked_at: list[str] = [texts[int(row)] for row in sample_rows(len(texts), _MOST_ROWS) if texts[int(row)]]
    counts, size = count_pieces(looked_at), min(NUMBERS, len({text.lower() for text in looked_at}) - 1)
    if size < 1:
        return ()
    rarity = 1 + np.log((1 + len(looked_at)) / (1 + counts.getnnz(axis=0)))
    with (
        threadpool_limits(1),
        np.errstate(invalid="ignore"),
    ):  # so that the same rows give the same bits, however many cores there are
        directions = TruncatedSVD(size, random_state=0).fit(counts.multiply(rarity).tocsr()).components_ * rarity
    scale = np.abs(directions).max(axis=1, keepdims=True)
    stored = (directions / np.where(scale > 0, scale, 1)).astype(_STORED)
    return tuple(base64.b64encode(one.tobytes()).decode() for one in stored)


def count_pieces(texts: Sequence[str]) -> csr_matrix:
    """The logarithms of the counts of the pieces of each text in hashed bins, of length 1: float64 (N, `BINS`)."""
    from sklearn.feature_extraction.text import HashingVectorizer

    if not len(texts):
        return csr_matrix((0, BINS))
    options: dict[str, Any] = {"n_features": BINS, "alternate_sign": False, "norm": None, "dtype": np.float64}
    count = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 4), **options)
    found = csr_matrix(count.transform(texts))
    found.data = 1 + np.log(found.data)
    lengths = np.sqrt(np.asarray(found.multiply(found).sum(axis=1)).ravel())
    return csr_matrix(found.multiply(1 / np.where(lengths > 0, lengths, 1)[:, None]))


def project(counts: csr_matrix, weights: str) -> np.ndarray:
    """One number for each text (N,), 0 for an empty one.

    Args:
        counts: as `count_pieces` returns.
        weights: one of those that `fit_texts` returned.
    """
    return counts @ np.frombuffer(base64.b64decode(weights), _STORED).astype(np.float64)
