"""Scikit-learn's digits, learnt in passes by a linear classifier over random Fourier features with `partial_fit`."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def load():
    x, y = load_digits(return_X_y=True)
    x, _, y, _ = train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)
    return train_test_split(x, y, test_size=0.25, random_state=1, stratify=y)


def load_test():
    x, y = load_digits(return_X_y=True)
    _, x, _, y = train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)
    return x, y


def fit(config, passes=9):
    x, valid_x, y, valid_y = load()
    scaler = StandardScaler().fit(x)
    features = RBFSampler(gamma=config["gamma"], n_components=config["features"], random_state=0).fit(x)
    x, valid_x = (features.transform(scaler.transform(rows)) for rows in (x, valid_x))
    model = SGDClassifier(loss="log_loss", alpha=config["alpha"], learning_rate="adaptive", eta0=config["eta0"])

    for i in range(passes):
        order = np.random.permutation(len(x))
        for rows in np.array_split(order, 20):
            model.partial_fit(x[rows], y[rows], classes=np.arange(10))
        accuracy = model.score(valid_x, valid_y)
        print(f"pass {i}: accuracy {accuracy:.3f}")
    return make_pipeline(scaler, features, model)


if __name__ == "__main__":
    model = fit({"gamma": 0.005, "features": 200, "alpha": 1e-4, "eta0": 0.1})
    print(f"test accuracy: {model.score(*load_test()):.3f}")
