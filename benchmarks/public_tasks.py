"""Learning curves that were recorded by others, as tasks that searches are replayed on; see `benchmarks/data/public/`.

LCBench: networks for tables, 50 epochs, 7 parameters, a surrogate of the recorded curves (YAHPO Gym). TaskSet: two
text networks, 51 points of validation, 8 parameters of Adam, 1,000 recorded runs with a Gaussian process between them.
Both are deterministic. LCBench needs `onnxruntime`.

Half of the tasks serve to choose rules (`TUNING`); the other half (`CONFIRMATION`) is opened once for each proposal.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial

from search.algorithms.encoding import encode
from search.scheduling.messages import Leg
from spaces.space import Space

DATA = Path(__file__).parent / "data" / "public"
Params = dict[str, Any]


class Family(Protocol):
    """Curves of the tasks of one collection."""

    epochs: int
    space: Mapping[str, BaseDistribution]
    default: Mapping[str, Any]

    def curves(self, configurations: Sequence[Params], *, first: int = 1) -> np.ndarray:
        """The values from epoch `first` to the last, (N, epochs + 1 - first), the larger the better."""
        ...


class LcBench:
    """The surrogate of LCBench (Zimmer, Lindauer and Hutter 2021) in YAHPO Gym 1.0 (Pfisterer et al. 2022).

    Its epochs 2 to 51 are 1 to 50 here: the first is the untrained network, and the last one is odd.
    """

    epochs = 50
    space: Mapping[str, BaseDistribution] = {
        "batch_size": IntDistribution(16, 512, log=True),
        "learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
        "momentum": FloatDistribution(0.1, 0.99),
        "weight_decay": FloatDistribution(1e-5, 1e-1),
        "num_layers": IntDistribution(1, 5),
        "max_units": IntDistribution(64, 1024, log=True),
        "max_dropout": FloatDistribution(0.0, 1.0),
    }
    default: Mapping[str, Any] = {
        "batch_size": 91,
        "learning_rate": 0.0031622777,
        "momentum": 0.545,
        "weight_decay": 0.050005,
        "num_layers": 3,
        "max_units": 256,
        "max_dropout": 0.5,
    }

    def __init__(self, task: str) -> None:
        self._code = json.loads((DATA / "lcb_encoding.json").read_text())["OpenML_task_id"][task]

    def curves(self, configurations: Sequence[Params], *, first: int = 1) -> np.ndarray:
        rows = np.array([[params[name] for name in self.space] for params in configurations], dtype=np.float32)
        inputs = np.empty((len(rows), self.epochs + 1 - first, 1 + rows.shape[1]), np.float32)
        inputs[:, :, 0] = np.arange(first + 1, self.epochs + 2)
        inputs[:, :, 1:] = rows[:, None]
        flat = inputs.reshape(-1, inputs.shape[2])
        task = np.full((len(flat), 1), self._code, np.int32)
        (found,) = _surrogate().run(None, {"x_cat": task, "x_cont": flat})
        return np.clip(found.reshape(*inputs.shape[:2], -1)[:, :, 1] / 100, 0, 1).astype(float)


@lru_cache
def _surrogate() -> Any:
    import onnxruntime  # pyright: ignore[reportMissingImports]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(DATA / "lcb_model.onnx"), options)


class TaskSet:
    """Runs of Adam recorded by Metz et al. (2020), as DPL (Kadra et al. 2023) publishes them; minus the log loss.

    Between the runs: a Gaussian process on eight principal components, and the residual of the nearest run.
    """

    epochs = 51
    space: Mapping[str, BaseDistribution] = {
        "learning_rate": FloatDistribution(1e-8, 10.0, log=True),
        "one_minus_beta1": FloatDistribution(1e-4, 1.0, log=True),
        "one_minus_beta2": FloatDistribution(1e-6, 1.0, log=True),
        "epsilon": FloatDistribution(1e-10, 1e3, log=True),
        "l1": FloatDistribution(1e-8, 10.0, log=True),
        "l2": FloatDistribution(1e-8, 10.0, log=True),
        "linear_decay": FloatDistribution(1e-7, 1e-4, log=True),
        "exponential_decay": FloatDistribution(1e-6, 1e-3, log=True),
    }
    default: Mapping[str, Any] = {
        "learning_rate": 1e-3,
        "one_minus_beta1": 0.1,
        "one_minus_beta2": 1e-3,
        "epsilon": 1e-8,
        "l1": 1e-8,
        "l2": 1e-8,
        "linear_decay": 1e-7,
        "exponential_decay": 1e-6,
    }

    def __init__(self, task: str) -> None:
        with np.load(DATA / f"ts_{task}.npz") as found:
            self._fit = {name: found[name].astype(float) for name in found.files}

    def curves(self, configurations: Sequence[Params], *, first: int = 1) -> np.ndarray:
        fit, codes = self._fit, encode(self.space, configurations)
        apart = codes[:, None] / fit["length"] - fit["X"] / fit["length"]
        distance = np.sqrt((apart**2).sum(axis=2))
        scaled = np.sqrt(5) * distance
        alike = (1 + scaled + scaled**2 / 3) * np.exp(-scaled)
        loss = fit["mean"] + (alike @ fit["alpha"]) @ fit["pcs"] + fit["resid"][distance.argmin(axis=1)]
        return -np.clip(loss[:, first - 1 :], fit["floor"], 2 * np.log(2))


LCBENCH = (
    "126029", "167104", "167149", "167152", "167161", "167184", "167185", "167190", "168331",
    "168868", "189865", "189866", "189873", "189906", "189908", "34539", "3945", "7593",
)  # fmt: skip
TASKSET = ("gru64avg", "lstm128e")
TUNING = (*(f"lcb-{task}" for task in LCBENCH[::2]), "ts-gru64avg")
CONFIRMATION = (*(f"lcb-{task}" for task in LCBENCH[1::2]), "ts-lstm128e")


class PublicTask:
    """One task: what its configurations reach, and how far that is from the best one that is known."""

    def __init__(self, name: str) -> None:
        kind, task = name.split("-", 1)
        self.name = name
        self.family: Family = LcBench(task) if kind == "lcb" else TaskSet(task)
        self.epochs, self.baseline = self.family.epochs, dict(self.family.default)
        known = json.loads((DATA / "calibration.json").read_text())[name]
        self.best, self.median = known["best"], known["median"]
        self.nothing = self.median
        self._curves: dict[tuple[Any, ...], np.ndarray] = {}

    @property
    def space(self) -> Space:
        return Space(suggest=self.ask, baseline=self.baseline, train=_untrained, metric="value", epochs=self.epochs)

    def ask(self, trial: BaseTrial) -> Params:
        """The configuration of a trial, or of an object with the same methods, by asking it for each parameter."""
        return ask(trial, self.family.space)

    def value_at(self, params: Params, epoch: int) -> float:
        key = tuple(params[name] for name in self.family.space)
        if key not in self._curves:
            self._curves[key] = self.family.curves([params])[0]
        return float(self._curves[key][epoch - 1])

    def final(self, params: Params) -> float:
        """The value at the full budget."""
        return self.value_at(params, self.epochs)

    def epoch_seconds(self, params: Params) -> float:
        """Epochs are counted."""
        return 1.0

    def seconds(self, leg: Leg, epoch: int) -> float:
        return 1.0

    def value(self, leg: Leg, epoch: int) -> float:
        return self.value_at(leg.params, epoch)


def ask(trial: BaseTrial, space: Mapping[str, BaseDistribution]) -> Params:
    """A value for each parameter of a space of numbers."""
    found: Params = {}
    for name, wanted in space.items():
        if isinstance(wanted, IntDistribution):
            found[name] = trial.suggest_int(name, wanted.low, wanted.high, log=wanted.log)
        elif isinstance(wanted, FloatDistribution):
            found[name] = trial.suggest_float(name, wanted.low, wanted.high, log=wanted.log)
    return found


def _untrained(config: Params, run: Any) -> None:
    raise AssertionError("curves are recorded, nothing is trained")


def calibrate(family: Family, *, drawn: int = 20_000, seed: int = 0) -> dict[str, float]:
    """The best final value that is found by random configurations and a local search, and the median random one."""
    rng = np.random.default_rng(seed)
    points = rng.random((drawn, len(family.space)))
    finals = _finals(family, points)
    median = float(np.median(finals))
    kept = np.argsort(-finals)[:20]
    points, finals = points[kept], finals[kept]
    for spread in np.repeat((0.15, 0.08, 0.04, 0.02, 0.01, 0.005), 6):
        near = np.repeat(points, 25, axis=0)
        moved = spread * rng.standard_normal(near.shape) * (rng.random(near.shape) < 0.5)
        points = np.vstack([points, np.clip(near + moved, 0, 1)])
        finals = np.concatenate([finals, _finals(family, points[20:])])
        kept = np.argsort(-finals)[:20]
        points, finals = points[kept], finals[kept]
    return {"best": float(finals[0]), "median": median}


def _finals(family: Family, points: np.ndarray) -> np.ndarray:
    parts = [points[start : start + 500] for start in range(0, len(points), 500)]
    return np.concatenate(
        [family.curves([_at(family.space, point) for point in part], first=family.epochs)[:, 0] for part in parts]
    )


def _at(space: Mapping[str, BaseDistribution], point: np.ndarray) -> Params:
    """The configuration at a point of the unit cube."""
    found: Params = {}
    for share, (name, wanted) in zip(point, space.items(), strict=True):
        assert isinstance(wanted, IntDistribution | FloatDistribution)
        low, high = wanted.low, wanted.high
        value = low * (high / low) ** share if wanted.log else low + share * (high - low)
        found[name] = min(high, max(low, round(value))) if isinstance(wanted, IntDistribution) else float(value)
    return found


def main() -> None:
    """Write `calibration.json` anew."""
    families: dict[str, Family] = {f"lcb-{task}": LcBench(task) for task in LCBENCH}
    families |= {f"ts-{task}": TaskSet(task) for task in TASKSET}
    found = {name: calibrate(family) for name, family in families.items()}
    (DATA / "calibration.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
