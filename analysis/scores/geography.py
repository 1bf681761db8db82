"""Tables with coordinates: distances to training rows, errors of neighbours, and whole regions held out.

A random split puts most test rows next to training rows. The score then says how well a model fills in between
neighbours; for a region without any training row the honest number is that of regions held out together (Roberts et al.
2017, Ecography).
"""

from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.model_selection import GroupKFold, KFold, cross_val_predict
from sklearn.neighbors import NearestNeighbors

from analysis.datasets.columns import coordinate_columns
from analysis.scores import comparison
from analysis.scores.baselines import boosting_pipeline, few_threads
from analysis.scores.metrics import evaluate
from trainables.data.dataset import Dataset, Split

KM_PER_DEGREE = 111.2
NUM_NEIGHBOURS, NUM_REGIONS, NUM_FOLDS = 10, 20, 5
"""Nearest test rows of a row; clusters of training rows, and folds in which they are held out."""
FEWEST_ROWS = 500
"""Training rows below which no regions are held out."""


def describe_geography(dataset: Dataset, test: Split, predicted: np.ndarray, *, seed: int = 0) -> dict[str, Any]:
    """The `geography` of final.json; empty without coordinates, or of a classification.

    Args:
        dataset: what the networks trained on.
        test: the sealed rows.
        predicted: by the exported network (N,).
        seed: of regions, folds and bootstrap.

    Returns:
        `nearest_km`: median distance of a test row to the nearest training row; `neighbour_correlation` of the test
        errors of a row and of its 10 nearest; `held_out`: RMSE of gradient boosting on training rows, cross-validated
        over `random` folds and over whole `regions`, with the difference.
    """
    if not coordinate_columns(dataset.columns) or dataset.task != "regression":
        return {}
    there, here = _kilometres(dataset, dataset.train), _kilometres(dataset, test)
    known = np.isfinite(here).all(1)
    near, _ = _neighbours(there[np.isfinite(there).all(1)], here[known], count=1)
    error = (predicted - test.y.numpy())[known]
    shared = np.corrcoef(error, error[_other_rows(here[known], count=NUM_NEIGHBOURS)].mean(1))[0, 1]
    described: dict[str, Any] = {"nearest_km": float(np.median(near)), "neighbour_correlation": float(shared)}
    if len(dataset.train) >= FEWEST_ROWS and np.isfinite(there).all():
        described["held_out"] = _hold_out(dataset, there, seed=seed)
    return {"geography": described}


def _kilometres(dataset: Dataset, split: Split) -> np.ndarray:
    """Places on a plane (N, 2), true near the middle latitude of the training rows."""
    names = [column.name for column in dataset.columns]
    longitude, latitude = (names.index(name) for name in coordinate_columns(dataset.columns))
    middle = float(np.nanmedian(dataset.train.x[:, latitude].numpy()))
    scale = KM_PER_DEGREE * np.array([np.cos(np.deg2rad(np.clip(middle, -80, 80))), 1.0])
    return split.x[:, [longitude, latitude]].numpy().astype(np.float64) * scale


def _neighbours(places: np.ndarray, of: np.ndarray, *, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and row numbers (N, count) of the nearest places."""
    return NearestNeighbors(n_neighbors=count).fit(places).kneighbors(of)


def _other_rows(places: np.ndarray, *, count: int) -> np.ndarray:
    """Row numbers (N, count) of the nearest other rows, the nearest first; all of them where there are fewer."""
    count = min(count, len(places) - 1)
    _, found = _neighbours(places, places, count=count + 1)
    is_own = found == np.arange(len(places))[:, None]
    is_own[~is_own.any(1), -1] = True  # more rows at one place than are looked up
    return found[~is_own].reshape(len(places), count)


def _hold_out(dataset: Dataset, places: np.ndarray, *, seed: int) -> dict[str, Any]:
    x, y = dataset.train.x.numpy().astype(np.float64), dataset.train.y.numpy()
    regions = KMeans(NUM_REGIONS, random_state=seed % 2**32).fit_predict(places)
    splits = {
        "random": KFold(NUM_FOLDS, shuffle=True, random_state=seed % 2**32).split(x),
        "regions": GroupKFold(NUM_FOLDS).split(x, groups=regions),
    }
    model = boosting_pipeline(dataset, seed=seed % 2**32)
    with few_threads(dataset):
        outputs = {name: np.asarray(cross_val_predict(model, x, y, cv=list(cv)))[None] for name, cv in splits.items()}
    groups = None if dataset.groups is None else dataset.groups[: len(y)]
    found = evaluate(y, outputs, task="regression", seed=seed, groups=groups)
    described: dict[str, Any] = {name: found[name].interval("rmse").as_dict() for name in splits}
    gap = comparison.difference(found["regions"], found["random"], metric="rmse")
    return described | {"difference": gap.as_dict(), "num_regions": NUM_REGIONS}
