"""A model that is divided over two workers: the losses of one worker, states of one format, and what is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from search.execution.group import Host, join, leave
from tests.own_spaces import CLASS, PARALLEL, write_own
from tests.ranked import ADDRESS, alone, build, pair
from trainables.own.sharded import Shards
from trainables.own.stored import copied, difference
from trainables.trainable import Diverged, MisuseError, StateError, close

TOLERANCE = 1e-5
"""Sums in another order."""
BUILD = PARALLEL[PARALLEL.index("def build(") : PARALLEL.index("def score(")]
TIED = """
class Tied(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = torch.nn.Linear(6, width)
        blocks = [torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.Tanh()) for _ in range(3)]
        self.blocks = torch.nn.ModuleList(blocks)
        self.blocks[2][0].weight = self.blocks[0][0].weight
        self.last = torch.nn.Linear(width, 2)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return self.last(x)

def build(config):
    return Tied(7)

"""
"""A network with sizes that two workers cannot divide equally, and a weight that two layers share."""
HELD = """
        parts = [*optimizer.state, *(one["exp_avg"] for one in optimizer.state.values())]
        held = sum(part.to_local().numel() for part in parts)
        pathlib.Path(f"held-{run.rank}").write_text(f"{held} {sum(part.numel() for part in parts)}")
"""
STEP = "            optimizer.step()\n"


def sharded(text: str = PARALLEL) -> str:
    """A program that divides its model, trains it by AdamW, and clips its gradients."""
    text = text.replace(BUILD, TIED).replace("run.prepare(build(config))", "run.prepare(build(config), sharded=True)")
    text = text.replace('SGD(model.parameters(), lr=config["lr"], momentum=0.9)', "AdamW(model.parameters(), lr=0.01)")
    return text.replace(STEP, f"            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)\n{STEP}")


@pytest.fixture(autouse=True)
def quick(one_thread: None) -> None:
    """One thread, as the other worker has."""


def losses(records: list[dict[str, Any]]) -> list[float]:
    return [value for record in records for value in (record["loss"], record["train_loss"])]


@pytest.mark.slow
def test_two_workers_hold_half_each_and_have_the_losses_and_states_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    expected, single = alone(write_own(tmp_path, "one", text=sharded()), epochs=4)
    text = sharded().replace("        scheduler.step()\n", "        scheduler.step()\n" + HELD)
    path = write_own(tmp_path, "two", text="import pathlib\n" + text)
    with pair(path) as two:
        records = [two.run_epoch() for _ in range(2)]
        state = copied(two.training.state())
        records += [two.run_epoch() for _ in range(2)]
        last = copied(two.training.state())
    assert losses(records) == pytest.approx(losses(expected), abs=TOLERANCE)
    assert records[0]["weights"] == expected[0]["weights"]
    for rank in range(2):
        held, whole = map(int, Path(f"held-{rank}").read_text().split())
        assert held == pytest.approx(whole / 2, rel=0.15)
    assert_same_format(last, single)
    torch.testing.assert_close(last["objects"]["model"], single["objects"]["model"], rtol=0, atol=TOLERANCE)

    fewer, _ = alone(tmp_path / "one.py", epochs=2, state=copied(state))
    assert losses(fewer) == pytest.approx(losses(expected)[4:], abs=TOLERANCE)
    with pair(path, state=state) as two:
        again = [two.run_epoch() for _ in range(2)]
        assert losses(again) == losses(records)[4:]
        assert difference(two.training.state()["objects"], last["objects"]) is None


def assert_same_format(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """The names, kinds, shapes and types of one state are those of another."""

    def form(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return type(value), value.shape, value.dtype, value.device
        if isinstance(value, dict):
            return {key: form(part) for key, part in value.items()}
        return [form(part) for part in value] if isinstance(value, list | tuple) else type(value)

    assert form(found["objects"]) == form(wanted["objects"])
    assert list(found["objects"]["model"]) == list(wanted["objects"]["model"])


@pytest.mark.slow
def test_two_workers_continue_what_one_has_begun(tmp_path: Path):
    path = write_own(tmp_path, text=sharded())
    expected, _ = alone(path, epochs=4)
    with pair(path, state=alone(path, epochs=2)[1]) as two:
        records = [two.run_epoch() for _ in range(2)]
    assert losses(records) == pytest.approx(losses(expected)[4:], abs=TOLERANCE)


@pytest.mark.slow
def test_a_metric_that_is_not_finite_ends_the_epoch_in_both_workers(tmp_path: Path):
    text = sharded().replace("run.report(loss=score", "run.report(loss=float('nan') if epoch == 2 else score")
    with pair(write_own(tmp_path, text=text)) as two:
        two.run_epoch()
        with pytest.raises(Diverged, match="loss is nan"):
            two.run_epoch()
        two.process.join(60)
        assert two.process.exitcode == 1, "it would wait for the part of worker 0"


# With the process group of a single worker


@pytest.fixture
def group() -> Iterator[None]:
    host = Host(ADDRESS)
    join(host.store, leg=1, rank=0, world_size=1, device="cpu", address=ADDRESS)
    yield
    leave()


@pytest.fixture
def shards(group: None) -> Shards:
    return Shards(torch.device("cpu"))


def test_blocks_are_gathered_one_at_a_time_unless_they_share_a_weight(shards: Shards, tmp_path: Path):
    names: dict[str, Any] = {}
    exec(sharded()[: sharded().index("SPACE = ")], names)
    model = shards.add(names["build"]({}), {})
    own = [name for name, module in model.named_modules() if isinstance(module, FSDPModule)]
    assert own == ["", "blocks.1.0"]
    assert all(isinstance(parameter, DTensor) for parameter in model.parameters())
    assert len(list(model.parameters())) == 9


def test_what_cannot_be_restored_is_refused(shards: Shards):
    model = nn.Linear(3, 4)
    early = torch.optim.SGD(model.parameters())
    shards.add(model, {})
    with pytest.raises(MisuseError, match=r"^'optimizer' was made before run.prepare\(model, sharded=True\)"):
        shards.check(early, "optimizer")
    shards.check(torch.optim.SGD(model.parameters()), "optimizer")
    with pytest.raises(MisuseError, match=r"^run.track\(copy=...\) got a Copy with sharded tensors in its state"):
        shards.check(Copy(model), "copy")
    with pytest.raises(StateError, match="'model' does not fit"):
        shards.load(model, "model", nn.Linear(3, 5).state_dict())
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    optimizer.state[model.weight]["rows"] = optimizer.state[model.weight]["exp_avg"][:2]
    with pytest.raises(MisuseError, match=r"^the state 'rows' of 'optimizer' has the shape \(2, 3\) for a sharded"):
        shards.gather({"model": model, "optimizer": optimizer})


class Copy:
    """A copy of the parameters of a model."""

    def __init__(self, model: nn.Module) -> None:
        self._state = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}

    def state_dict(self) -> dict[str, Any]:
        return self._state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._state = state


def test_a_class_is_refused_with_several_workers_alone(tmp_path: Path):
    path = write_own(tmp_path, text=CLASS.replace("run.prepare(self.model)", "run.prepare(self.model, sharded=True)"))
    with pytest.raises(MisuseError, match=r"^run.prepare\(model, sharded=True\) needs a function, Space\(train=...\)"):
        build(path, rank=0, world_size=2)
    training = build(path, rank=0, world_size=1)
    assert type(training.inner.prepared) is nn.Sequential
    close(training)


def test_parameters_and_buffers_of_every_type_are_stored_whole(shards: Shards):
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1).to(torch.bfloat16))
    model.register_buffer("mask", torch.tensor([True, False]))
    model.register_buffer("empty", torch.empty(0))
    model.register_buffer("turned", torch.arange(6.0).view(2, 3).T)
    expected = copied(model.state_dict())
    found = shards.gather({"model": shards.add(model, {})})["model"]
    assert difference(found, expected) is None
    assert found._metadata == expected._metadata
    shards.load(model, "model", found)
    assert difference(shards.gather({"model": model})["model"], expected) is None
