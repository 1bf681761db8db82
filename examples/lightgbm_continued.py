"""Gradient boosting with LightGBM, ten trees a round: each round continues the booster of the round before."""

import lightgbm as lgb
import numpy as np
from sklearn.datasets import make_friedman1

import rungwise as rw


def load(part):
    rows = {"train": slice(0, 1000), "valid": slice(1000, 1300), "test": slice(1300, 1800)}[part]
    x, y = make_friedman1(1800, n_features=10, noise=1.0, random_state=0)
    return x[rows], y[rows]


def fit(config, run):
    (x, y), (valid_x, valid_y) = load("train"), load("valid")
    params = {"objective": "regression", "bagging_freq": 1, "seed": 0, "num_threads": 1, "verbose": -1, **config}
    booster = lgb.Booster(model_str=run.state["booster"]) if "booster" in run.state else None

    for i in run.epochs:
        booster = lgb.train(params, lgb.Dataset(x, y), num_boost_round=10, init_model=booster)
        rmse = np.sqrt(np.mean((booster.predict(valid_x) - valid_y) ** 2))
        run.state["booster"] = booster.model_to_string()
        run.report(rmse=rmse)
        print(f"{booster.num_trees()} trees: rmse {rmse:.3f}")
    return booster


def predict(booster):
    """The targets of the rows for testing, and those of the booster."""
    x, y = load("test")
    return {"y_true": y, "y_pred": booster.predict(x)}


def suggest(trial):
    return BASELINE | {"learning_rate": trial.suggest_float("learning_rate", 0.01, 0.5, log=True)}


BASELINE = {"learning_rate": 0.1, "num_leaves": 31, "bagging_fraction": 0.8}
test = lambda booster, run: rw.Predictions(**predict(booster))
SPACE = rw.Space(suggest=suggest, train=fit, test=test, baseline={"learning_rate": 0.1}, metric="rmse", direction="minimize", epochs=9)
