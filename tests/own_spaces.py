"""Training code as a user might write it, in files of its own: whole, and with one fault planted in each."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.own_kills import NEEDS
from tests.searching import ROOT

PROGRAMS = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))
WHOLE = """
import torch
import rungwise as rw

def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(120, 6, generator=generator)
    y = (x[:, 0] * x[:, 1] + x[:, 2] > 0).long()
    return {"train": (x[:80], y[:80]), "valid": (x[80:], y[80:])}

def suggest(trial):
    return {"lr": trial.suggest_float("lr", 1e-3, 1.0, log=True), "width": trial.suggest_int("width", 4, 32, log=True)}

def build(config):
    layers = [torch.nn.Linear(6, config["width"]), torch.nn.Dropout(0.1), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(config["width"], 2))

def score(model, x, y):
    with torch.no_grad():
        return torch.nn.functional.cross_entropy(model.eval()(x), y).item()

def train(config, run):
    (x, y), (vx, vy) = run.data["train"], run.data["valid"]
    model = build(config).to(run.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"], momentum=0.9)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5**epoch)
    run.track(model=model, optimizer=optimizer, scheduler=scheduler)
    for epoch in run.epochs:
        model.train()
        for rows in torch.randperm(len(x)).split(20):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        run.report(loss=score(model, vx, vy), train_loss=score(model, x, y))
        scheduler.step()
    return model

SPACE = rw.Space(
    suggest=suggest, train=train, data=data, baseline={"lr": 0.1, "width": 8},
    metric="loss", direction="minimize", epochs=4,
)
"""
PARALLEL = (
    WHOLE.replace("model = build(config).to(run.device)", "model = run.prepare(build(config))")
    .replace("torch.nn.Dropout(0.1), ", "")
    .replace(".split(20):\n", ".split(20):\n            rows = rows[run.rank :: run.world_size]\n")
)
"""The same for one worker or several, without what draws other random numbers in each."""
CLASS = (
    PARALLEL[: PARALLEL.index("def train(")]
    + """
class Training:
    def __init__(self, config, run):
        self.epoch, self.run = 0, run
        self.model = build(config)
        self.prepared = run.prepare(self.model)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=config["lr"], momentum=0.9)

    def run_epoch(self):
        (x, y), (vx, vy) = self.run.data["train"], self.run.data["valid"]
        self.prepared.train()
        for rows in torch.randperm(len(x)).split(20):
            rows = rows[self.run.rank :: self.run.world_size]
            self.optimizer.zero_grad()
            torch.nn.functional.cross_entropy(self.prepared(x[rows]), y[rows]).backward()
            self.optimizer.step()
        self.epoch += 1
        return {} if self.run.rank else {"loss": score(self.model, vx, vy), "train_loss": score(self.model, x, y)}

    def state(self):
        return {"epoch": self.epoch, "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state):
        self.epoch = state["epoch"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])

"""
    + PARALLEL[PARALLEL.index("SPACE = ") :].replace("train=train", "task=Training")
)
"""The same as a class."""
FAULTS = {
    "optimizer": ("optimizer=optimizer, ", ""),
    "scheduler": (", scheduler=scheduler)", ")"),
    "generator": (
        ("    run.track(", "    order = torch.Generator().manual_seed(run.seed)\n    run.track("),
        ("torch.randperm(len(x))", "torch.randperm(len(x), generator=order)"),
    ),
    "cache": (
        ("def score(", "SEEN = {}\n\ndef score("),
        ("        scheduler.step()\n", "        scheduler.step()\n        SEEN[config['width'], len(SEEN)] = epoch\n"),
        ("    for epoch in", "    optimizer.param_groups[0]['lr'] /= 1 + len(SEEN)\n    for epoch in"),
    ),
    "metric": ("loss=score(model, vx, vy), train_loss=score(model, x, y)", "loss=score(model, x, y)"),
}
"""By what is wrong: what is replaced by what."""


def write_own(folder: Path, name: str = "my_search", *, fault: str | None = None, text: str = WHOLE) -> Path:
    """A file of this name, perhaps with a fault in it."""
    changes = FAULTS[fault] if fault else ()
    for old, new in (changes,) if fault and isinstance(changes[0], str) else changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


def skip_without_packages(program: str) -> None:
    """Skip a test of a program in examples/ whose packages are not installed."""
    needed = NEEDS.get(program)
    if needed and find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
