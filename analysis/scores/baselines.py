"""Classical methods on the same rows of a table as the networks.

    for baseline in fit_baselines(dataset, seeds=[3, 5, 7]):
        outputs = baseline.predict(test.x)          # (S, N), or (S, N, K)

Each is a scikit-learn pipeline, so that imputation, scaling and encoding are fitted on the training rows alone. The
settings are sensible, not tuned: the boosted trees choose their number by early stopping on a tenth of these rows.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits
from torch import Tensor

from analysis.progress import Advance, no_progress
from search.process.allotted import available_cpus
from trainables.data.dataset import Dataset
from trainables.training.quantile import quantile_in

FOREST_ROWS = 100_000
"""Rows that each tree of a forest sees at most."""
THREADED_ROWS = 100_000
"""Training rows from which threads gain more in boosting than they lose: they wait for each other at every node, and
on a machine that is busy otherwise that took a hundred times as long."""
STOPPING_ROWS = 1_000
"""Training rows from which early stopping can spare a tenth; below, scikit-learn's fixed 100 rounds."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to predict a table, before it is fitted."""

    name: str
    title: str
    settings: str
    random: bool
    """Whether another seed gives another model."""
    tuned: bool = False
    """Whether its settings were chosen on the validation rows."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """One method, fitted on one seed, or on each of several where it is random."""

    method: Method
    models: Sequence[Any]
    seeds: Sequence[int]
    num_classes: int
    fit_seconds: float
    """Of one model, on average."""

    def predict(self, x: Tensor) -> np.ndarray:
        """Predictions (S, N) in the unit of the target, or probabilities (S, N, K)."""
        rows = x.numpy().astype(np.float64)
        if not self.num_classes:
            return np.stack([model.predict(rows) for model in self.models])
        return np.stack([all_classes(model, rows, self.num_classes) for model in self.models])


def all_classes(model: Any, rows: np.ndarray, num_classes: int) -> np.ndarray:
    """Probabilities (N, K); 0 for a class without training rows."""
    found = np.zeros((len(rows), num_classes))
    found[:, model.classes_] = model.predict_proba(rows)
    return found


def methods(dataset: Dataset) -> tuple[Method, ...]:
    """What is fitted for this table, the simplest first."""
    forest = "300 trees, a third of the features at each split"
    if dataset.task == "classification":
        forest = "300 trees, the square root of the number of features at each split"
    boosting = "learning rate 0.05, up to 2,000 trees of 31 leaves, stopped early on a tenth of the training rows"
    if not _stops_early(dataset):
        boosting = "learning rate 0.1, 100 trees of 31 leaves"
    linear = Method(
        name="ridge", title="ridge regression", settings="penalty by leave-one-out on the training rows", random=False
    )
    mean = Method(name="mean", title="mean of the training target", settings="a constant", random=False)
    quantile = target_quantile(dataset)
    if quantile is not None:
        title = "median of the training target" if quantile == 0.5 else f"quantile {quantile:g} of the training target"
        mean = Method(name="mean", title=title, settings="a constant", random=False)
        loss = "absolute error" if dataset.metric == "mae" else f"pinball loss of quantile {quantile:g}"
        boosting += f"; {loss}"
    if dataset.task == "classification":
        linear = Method(name="logistic", title="logistic regression", settings="L2 penalty, C = 1", random=False)
        mean = Method(name="majority", title="class frequencies", settings="the most frequent class", random=False)
    trees = Method(name="random_forest", title="random forest", settings=forest, random=True)
    return (
        mean,
        *(() if quantile is not None and dataset.metric != "mae" else (linear, trees)),  # both predict the mean
        Method(name="gradient_boosting", title="gradient boosting", settings=boosting, random=_stops_early(dataset)),
    )


def fit_baselines(dataset: Dataset, *, seeds: Sequence[int], advance: Advance = no_progress) -> list[Baseline]:
    """Fit every method on the training rows.

    Args:
        dataset: a table; of other data sets there are no baselines.
        seeds: for each random method, one model per seed; the others are fitted on the first.
        advance: called after each model.
    """
    if not dataset.columns:
        return []
    return [_fit(method, dataset, seeds=_seeds(method, seeds), advance=advance) for method in methods(dataset)]


def num_models(dataset: Dataset, *, seeds: Sequence[int]) -> int:
    """How many models `fit_baselines` fits."""
    return sum(len(_seeds(method, seeds)) for method in methods(dataset)) if dataset.columns else 0


def _seeds(method: Method, seeds: Sequence[int]) -> Sequence[int]:
    return seeds if method.random else seeds[:1]


def _fit(method: Method, dataset: Dataset, *, seeds: Sequence[int], advance: Advance) -> Baseline:
    x, y = dataset.train.x.numpy().astype(np.float64), dataset.train.y.numpy()
    began = time.perf_counter()
    models = []
    with few_threads(dataset):
        for seed in seeds:
            models.append(_pipeline(method.name, dataset, seed=seed).fit(x, y))
            advance()
    return Baseline(
        method=method,
        models=models,
        seeds=tuple(seeds),
        num_classes=dataset.num_classes,
        fit_seconds=(time.perf_counter() - began) / len(models),
    )


def num_threads(dataset: Dataset) -> int:
    """Threads of one fit of boosting: one while the table is small."""
    return 1 if len(dataset.train) < THREADED_ROWS else available_cpus()


def few_threads(dataset: Dataset) -> threadpool_limits:
    """As many threads of OpenMP; a context."""
    return threadpool_limits(num_threads(dataset), user_api="openmp")


def _pipeline(name: str, dataset: Dataset, *, seed: int) -> Pipeline:
    regression, quantile = dataset.task == "regression", target_quantile(dataset)
    if name in ("mean", "majority"):
        if quantile is not None:
            return make_pipeline(DummyRegressor(strategy="quantile", quantile=quantile))
        return make_pipeline(DummyRegressor() if regression else DummyClassifier(strategy="prior"))
    if name in ("ridge", "logistic"):
        linear = RidgeCV(alphas=np.logspace(-3, 4, 15)) if regression else LogisticRegression(max_iter=5_000)
        return make_pipeline(_encoder(dataset, scaled=True), linear)
    if name == "random_forest":
        rows = min(1.0, FOREST_ROWS / len(dataset.train))
        settings: dict[str, Any] = {"n_estimators": 300, "n_jobs": -1, "random_state": seed, "max_samples": rows}
        forest = RandomForestRegressor(max_features=1 / 3, **settings)
        if not regression:
            forest = RandomForestClassifier(max_features="sqrt", **settings)
        return make_pipeline(_encoder(dataset, scaled=False), forest)
    if quantile is None:
        return boosting_pipeline(dataset, seed=seed)
    loss = {"loss": "absolute_error"} if dataset.metric == "mae" else {"loss": "quantile", "quantile": quantile}
    return boosting_pipeline(dataset, seed=seed, **loss)


def target_quantile(dataset: Dataset) -> float | None:
    """The quantile of the target that the metric of the search asks for; None if it is the mean, or there are classes.

    The least absolute error is that of the median.
    """
    return 0.5 if dataset.metric == "mae" else quantile_in(dataset.metric)


def boosting_pipeline(dataset: Dataset, *, seed: int, **loss: Any) -> Pipeline:
    """Gradient boosting on histograms, not fitted yet; it needs neither imputation nor encoding.

    Args:
        dataset: of the columns.
        seed: of the early stopping.
        loss: what it minimises; the mean squared error or the log loss if not stated.
    """
    boosting = HistGradientBoostingRegressor if dataset.task == "regression" else HistGradientBoostingClassifier
    known = [i for i in range(len(dataset.columns)) if dataset.train.x[:, i].isfinite().any()]  # others break the bins
    categories = [known.index(i) for i in _indices(dataset, "category")]
    settings: dict[str, Any] = {
        "random_state": seed,
        "categorical_features": categories,
        "early_stopping": False,
        **loss,
    }
    if _stops_early(dataset):
        settings |= {"early_stopping": True, "learning_rate": 0.05, "max_iter": 2_000, "n_iter_no_change": 30}
    return make_pipeline(ColumnTransformer([("known", "passthrough", known)]), boosting(**settings))


def _stops_early(dataset: Dataset) -> bool:
    """Whether a tenth of the training rows can be spared, each class with enough of them."""
    if len(dataset.train) < STOPPING_ROWS:
        return False
    return not dataset.num_classes or int(np.bincount(dataset.train.y.numpy(), minlength=1).min()) >= 20


def _indices(dataset: Dataset, kind: str) -> list[int]:
    return [index for index, column in enumerate(dataset.columns) if column.kind == kind]


def _encoder(dataset: Dataset, *, scaled: bool) -> ColumnTransformer:
    """Medians with an indicator column for missing numbers; one column for each level of a category."""
    numbers: Any = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    if scaled:
        numbers = make_pipeline(numbers, StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer(
        [("numbers", numbers, _indices(dataset, "number")), ("categories", one_hot, _indices(dataset, "category"))]
    )
