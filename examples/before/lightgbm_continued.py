"""Gradient boosting with LightGBM, ten trees a round: each round continues the booster of the round before."""

import lightgbm as lgb
import numpy as np
from sklearn.datasets import make_friedman1


def load(part):
    rows = {"train": slice(0, 1000), "valid": slice(1000, 1300), "test": slice(1300, 1800)}[part]
    x, y = make_friedman1(1800, n_features=10, noise=1.0, random_state=0)
    return x[rows], y[rows]


def fit(config, rounds=9):
    (x, y), (valid_x, valid_y) = load("train"), load("valid")
    params = {"objective": "regression", "bagging_freq": 1, "seed": 0, "num_threads": 1, "verbose": -1, **config}
    booster = None

    for i in range(rounds):
        booster = lgb.train(params, lgb.Dataset(x, y), num_boost_round=10, init_model=booster)
        rmse = np.sqrt(np.mean((booster.predict(valid_x) - valid_y) ** 2))
        print(f"{booster.num_trees()} trees: rmse {rmse:.3f}")
    return booster


def predict(booster):
    """The targets of the rows for testing, and those of the booster."""
    x, y = load("test")
    return {"y_true": y, "y_pred": booster.predict(x)}


if __name__ == "__main__":
    answers = predict(fit({"learning_rate": 0.1, "num_leaves": 31, "bagging_fraction": 0.8}))
    print(f"test rmse: {np.sqrt(np.mean((answers['y_pred'] - answers['y_true']) ** 2)):.3f}")
