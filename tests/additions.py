"""Uses what the examples of CONTRIBUTING.md add: run in a copy of the tree that has them.

python -m tests.additions
"""

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import optuna
import torch
from optuna.trial import FrozenTrial

import spaces
from analysis.pages.page import Folder, Picture
from analysis.pages.search import search
from analysis.scores.metrics import evaluate
from analysis.studies.trials import read_trials
from analysis.wording import named
from search.forecast.simulate import simulate
from search.process.arguments import parse
from search.scheduling.messages import Leg
from search.session.checks import check
from search.session.options import Options
from search.session.session import Session
from spaces.space import load as load_space
from tests.synthetic import make_study
from trainables.data.dataset import Dataset
from trainables.models.cost import ModelConfig, measure_cost
from trainables.models.mlp import MlpConfig
from trainables.sources.catalogue import names
from trainables.sources.load import load, load_test
from trainables.training.loss import Loss


class Curves:
    """Learning curves that are best at a width of 40 and a learning rate of 0.1."""

    def seconds(self, leg: Leg, epoch: int) -> float:
        return 1.0

    def value(self, leg: Leg, epoch: int) -> float:
        return epoch / 100 - abs(leg.params["width"] - 40) / 100 - abs(np.log10(leg.params["lr"]) + 1)


def searched(*words: str) -> list[FrozenTrial]:
    """The trials of a search of the new space on the simulated clock."""
    options = parse(Options, ["--space", "digits_small", "--trials", "24", *words], prog="search.run")
    check(options)
    session = Session.open(options, given=())
    return simulate(session.run, session.space, Curves(), slots=2).trials


def use_space() -> None:
    assert "digits_small" in spaces.available()
    space = load_space("digits_small")
    study = optuna.create_study()
    drawn = [study.ask() for _ in range(20)]
    assert len({space.suggest(trial).model.widths for trial in drawn}) > 3
    trials = searched()
    assert trials[0].params == space.baseline
    assert len(trials) == 24
    assert max(len(trial.intermediate_values) for trial in trials) == 9


def use_model() -> None:
    from trainables.models.linear import LinearConfig  # pyright: ignore[reportMissingImports]

    digits = load("digits", "nowhere")
    assert measure_cost(LinearConfig(), digits).num_weights == 64 * 10 + 10
    before, after = learn(LinearConfig(dropout=0.1), digits)
    assert after < before


def use_data() -> None:
    assert "wine" in names()
    wine = load("wine", "nowhere")
    assert (len(wine.train), len(wine.validation), wine.classes) == (129, 14, ("one", "two", "three"))
    assert len(load_test("wine", "nowhere", like=wine)) == 35
    before, after = learn(MlpConfig(), wine)
    assert after < before


def learn(model: ModelConfig, dataset: Dataset) -> tuple[float, float]:
    """The loss on the training rows before and after a step down its gradient."""
    torch.manual_seed(0)
    network, loss, rows = model.build(dataset), Loss(dataset), dataset.train
    x = rows.x.float() / (255 if rows.x.dtype == torch.uint8 else 1)
    before = loss(network(x), rows.y)
    before.backward()
    with torch.no_grad():
        for weight in network.parameters():
            weight.sub_(weight.grad, alpha=0.1)
        return float(before), float(loss(network(x), rows.y))


def use_plot() -> None:
    trials = read_trials(make_study(12))
    with TemporaryDirectory() as folder:
        section = search(trials, Folder(Path(folder)), names=["lr"])
        pictures = {block.name: block for block in section.blocks if isinstance(block, Picture)}
        assert "trained" in pictures["budget"].alt
        assert (Path(folder) / "figures" / "budget.png").stat().st_size > 1000


def use_sampler() -> None:
    first = searched("--sampler", "mutation", "--seed", "1")
    assert [t.params for t in first] == [t.params for t in searched("--sampler", "mutation", "--seed", "1")]
    random = searched("--sampler", "random", "--seed", "1")
    assert changes(first) < changes(random)


def changes(trials: list[FrozenTrial]) -> int:
    """Values that a trial does not share with the one before."""
    return sum(a.params[name] != b.params[name] for a, b in pairwise(trials) for name in a.params)


def use_metric() -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 200)
    p = random.dirichlet(np.ones(3), 200)[None]
    found = evaluate(y, {"one": p}, task="classification", num_replicates=200)["one"]
    interval = found.interval("brier")
    assert interval.value == np.mean(
        [((row - np.eye(3)[label]) ** 2).sum() for row, label in zip(p[0], y, strict=True)]
    )
    assert interval.low < interval.value < interval.high < 2
    assert named("brier") == "Brier score"


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for use in (use_space, use_model, use_data, use_plot, use_sampler, use_metric):
        use()
        print(use.__name__)
