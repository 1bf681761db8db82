"""The network that looks at the nearest training rows: whose they are, when they are searched, and what is kept."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analysis.model.load import load_model
from analysis.model.write import export_model
from analysis.prose.card import model_card
from analysis.studies.results import FinalResults
from tests.columns import rows, table
from tests.searching import ROOT
from trainables.data.dataset import Dataset, Split
from trainables.models.cost import measure_cost
from trainables.models.embeddings import EncoderConfig
from trainables.models.mlp import MlpConfig
from trainables.models.neighbours import MAX_CANDIDATES, NeighbourNet, _equal_pairs, _smallest, fingerprints
from trainables.training.config import TrainConfig
from trainables.training.optim import AdamWConfig
from trainables.training.training import Training

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL: dict[str, Any] = {"width": 16, "depth": 1, "neighbours": 4, "encoder": EncoderConfig(scaling="standard")}


def train(dataset: Dataset, *, epochs: int = 2, **changes: Any) -> Training:
    model = MlpConfig(**{**SMALL, **changes})
    config = TrainConfig(model=model, optimizer=AdamWConfig(lr=5e-3, weight_decay=0.0), batch_size=32)
    return Training(config, dataset, epochs=epochs, seed=0)


def network(training: Training) -> NeighbourNet:
    assert isinstance(training.model, NeighbourNet)
    return training.model


def plain(x: np.ndarray, y: np.ndarray, *, classes: tuple[str, ...] = ()) -> Dataset:
    """A table of numbers, half of whose rows validate."""
    x, half = x.astype(np.float32), len(x) // 2
    parts = [
        Split(x=torch.from_numpy(x[part]), y=torch.from_numpy(y[part])) for part in (slice(half), slice(half, None))
    ]
    task = "classification" if classes else "regression"
    return Dataset(
        name="made", task=task, train=parts[0], validation=parts[1], classes=classes, mean=(), std=(), checksum=""
    )


def test_a_row_and_its_copies_are_never_its_neighbours():
    dataset = table(60)
    twice = Split(x=dataset.train.x.repeat(2, 1), y=dataset.train.y.repeat(2))
    net = network(train(replace(dataset, train=twice)))
    net.begin_epoch()
    known = fingerprints(net.rows)
    for print_, near in zip(net._order, net._neighbours, strict=True):
        assert (near >= 0).all()
        assert (known[near] != print_).all()


def test_neighbours_are_the_nearest_by_the_keys_of_the_network():
    dataset = table(80)
    net = network(train(dataset))
    net.begin_epoch()
    net.eval()
    with torch.no_grad():
        keys = net.key(net.embed(dataset.train.x))
    distances = torch.cdist(keys, keys).fill_diagonal_(torch.inf)
    expected = {frozenset(row.tolist()) for row in distances.topk(4, largest=False).indices}
    assert {frozenset(row.tolist()) for row in net._neighbours} == expected


@pytest.mark.parametrize("columns", [13, 320, 333, 2000, 13_209])
@pytest.mark.parametrize("count", [1, 16, 32])
def test_the_smallest_of_long_rows_are_those_of_a_full_search(columns: int, count: int):
    distances = torch.randn(7, columns, generator=torch.Generator().manual_seed(0))
    distances[0, 5:] = float("inf")
    count = min(count, columns)
    values, places = _smallest(distances, count)
    expected = distances.topk(count, dim=1, largest=False).values
    assert torch.equal(values.sort(dim=1).values, expected)
    assert torch.equal(distances.gather(1, places), values)
    assert all(len(set(row.tolist())) == count for row in places)


def test_pairs_of_equal_rows_are_all_found():
    ours, theirs = (torch.randint(0, 30, (n,), generator=torch.Generator().manual_seed(n)) for n in (40, 60))
    known, order = theirs.sort(stable=True)
    equal = torch.zeros(40, 60, dtype=torch.bool)
    equal[_equal_pairs(ours, known, order)] = True
    assert torch.equal(equal, ours[:, None] == theirs)


def test_neighbours_weigh_by_the_softmax_of_squared_distances():
    net = network(train(table(60), dropout=0.0)).double().eval()
    x = table(60).train.x[:9]
    keys = net.key(net.embed(x).double())
    candidates = net.key(net.embed(net.rows).double())
    near = torch.stack([torch.randperm(30, generator=torch.Generator().manual_seed(i))[:4] for i in range(9)])
    differences = keys[:, None] - candidates[near]
    weights = (-differences.square().sum(2)).softmax(1)[..., None]
    targets = net.targets[near]
    mean = (weights * targets).sum(1)
    spread = ((weights * (targets - mean[:, None]).square()).sum(1) + 1e-6).sqrt()
    expected = net.label(mean) + net.summary(torch.cat([(weights * differences).sum(1), mean, spread], dim=1))
    chosen = torch.cat([candidates, candidates.square().sum(1, keepdim=True)], dim=1)[near]
    torch.testing.assert_close(net._context(keys, chosen, near), expected, rtol=1e-9, atol=1e-9)


def test_it_learns_what_only_near_rows_show():
    random = np.random.default_rng(0)
    places = random.uniform(-1, 1, (1500, 2))
    cells = np.floor(places * 4).astype(int)  # each of 64 cells has a level of its own
    y = (random.normal(size=(8, 8))[cells[:, 0] + 4, cells[:, 1] + 4]).astype(np.float32)
    errors = {count: train(plain(places, y), epochs=8, neighbours=count, width=32) for count in (0, 8)}
    found = {count: [training.run_epoch()["rmse"] for _ in range(8)][-1] for count, training in errors.items()}
    assert found[8] < 0.75 * found[0]


def test_classes_are_learnt_too():
    random = np.random.default_rng(1)
    places = random.uniform(-1, 1, (1600, 2))
    y = (np.floor(places * 4).astype(int).sum(1) % 2).astype(np.int64)  # a chess board
    training = train(plain(places, y, classes=("black", "white")), epochs=10, neighbours=6, width=32)
    assert [training.run_epoch()["accuracy"] for _ in range(10)][-1] > 0.8


def test_a_training_that_is_resumed_goes_on_to_the_bit():
    straight, first = train(table(200), epochs=3), train(table(200), epochs=3)
    expected = [straight.run_epoch() for _ in range(3)]
    first.run_epoch()
    second = train(table(200), epochs=3)
    second.restore(first.state())
    for record in expected[1:]:
        assert second.run_epoch()["train_loss"] == record["train_loss"]
    for own, other in zip(second.model.parameters(), straight.model.parameters(), strict=True):
        assert torch.equal(own, other)


def test_new_weights_are_evaluated_with_new_keys():
    training = train(table(200))
    x = rows(20, seed=5).x
    before = training.predict(x)
    training.run_epoch()
    fresh = train(table(200))
    fresh.restore(training.state())
    assert not torch.equal(training.predict(x), before)
    assert torch.equal(training.predict(x), fresh.predict(x))


@pytest.mark.parametrize("num_classes", [0, 3])
def test_an_exported_network_has_its_training_rows_with_it(tmp_path: Path, num_classes: int, monkeypatch):
    dataset = table(120, num_classes=num_classes)
    training = train(dataset)
    training.run_epoch()
    params = {"neighbours": 4}
    monkeypatch.setattr("spaces.space.decode", lambda *_: training.config)
    (tmp_path / "final").mkdir()
    facts = export_model(tmp_path / "final", training, facts={"space": "x", "params": params, "seed": 0})
    results = FinalResults.read(ROOT / "results" / "housing" / "final")
    assert results is not None
    assert "training rows, which the file contains; do not share it" in model_card(results, facts)
    assert "which the file contains" not in model_card(results, facts | {"params": {"neighbours": 0}})
    model = load_model(tmp_path)
    x = rows(30, seed=9).x
    expected = training.predict(x)
    expected = expected.softmax(1) if num_classes else expected[:, 0]
    np.testing.assert_allclose(model.predict(x), expected.numpy(), rtol=1e-5, atol=1e-6)
    assert torch.equal(model.network.get_buffer("rows"), dataset.train.x) or dataset.train.x.isnan().any()


def test_fewer_rows_than_neighbours_and_equal_rows_give_numbers():
    few = table(6)
    training = train(few, neighbours=32)
    training.run_epoch()
    assert training.predict(few.train.x).isfinite().all()
    equal = replace(few, train=Split(x=few.train.x[:1].repeat(40, 1), y=torch.arange(40.0)))
    training = train(equal, neighbours=8)
    training.run_epoch()
    assert (network(training)._neighbours == -1).all(), "all other rows are copies"
    assert training.predict(equal.train.x).isfinite().all()


def test_many_rows_are_thinned_to_candidates():
    x = torch.linspace(0, 1, 2 * MAX_CANDIDATES + 1)[:, None]
    wide = Split(x=x, y=x[:, 0])
    dataset = Dataset(
        name="long", task="regression", train=wide, validation=wide, classes=(), mean=(), std=(), checksum=""
    )
    net = MlpConfig(**SMALL).build(dataset)
    assert isinstance(net, NeighbourNet)
    assert len(net.rows) == MAX_CANDIDATES
    assert net.rows[0] < 0.001
    assert net.rows[-1] > 0.999
    places = (2 * MAX_CANDIDATES * net.rows[:, 0]).round()
    assert (places.diff() > 0).all(), "in the order of the rows"
    assert abs((places % 2).mean() - 0.5) < 0.02, "rows in a regular order are all represented"
    target = (x[:, 0] - x.mean()) / x.std(correction=0)
    torch.testing.assert_close(net.targets[:, 0], target[places.long()])


def test_a_checkpoint_with_another_choice_of_candidates_keeps_them(monkeypatch: pytest.MonkeyPatch):
    x = np.random.default_rng(0).normal(size=(400, 3))
    dataset = plain(x, x[:, 0].astype(np.float32))
    monkeypatch.setattr("trainables.models.neighbours.MAX_CANDIDATES", 60)
    before = train(dataset)
    before.run_epoch()
    monkeypatch.undo()
    restored = train(dataset)
    restored.restore(before.state())
    assert torch.equal(network(restored).rows, network(before).rows)
    assert restored.run_epoch()["train_loss"] == before.run_epoch()["train_loss"]


def test_its_cost_counts_the_neighbours():
    dataset = table(100)
    without, few, many = (measure_cost(MlpConfig(**{**SMALL, "neighbours": n}), dataset) for n in (0, 4, 8))
    embedding = few.macs - without.macs
    assert many.num_weights == few.num_weights > without.num_weights
    assert many.macs - few.macs > 0.3 * embedding
    with pytest.raises(ValueError, match="neighbours must be at least 0, got -1"):
        MlpConfig(neighbours=-1)


def test_rows_are_known_by_all_their_inputs():
    x = torch.randn(2000, 5)
    assert len(fingerprints(x).unique()) == 2000
    assert torch.equal(fingerprints(torch.tensor([[0.0, 1.0]])), fingerprints(torch.tensor([[-0.0, 1.0]])))
    gaps = torch.tensor([[torch.nan, 1.0], [torch.nan, 1.0], [1.0, torch.nan]])
    assert len(fingerprints(gaps).unique()) == 2
    assert len(fingerprints(torch.tensor([[1.0, 2.0], [2.0, 1.0]])).unique()) == 2
    wide = torch.tensor([[1.0], [1.0 + 1e-12]], dtype=torch.float64)
    assert len(fingerprints(wide).unique()) == 2


def test_any_number_of_rows_goes_through_an_exported_graph():
    net = network(train(table(60), dropout=0.0)).eval()
    rows_dimension = torch.export.Dim("rows", min=1, max=1000)
    exported = torch.export.export(net, (table(60).train.x[:5],), dynamic_shapes=({0: rows_dimension},)).module()
    for count in (2, 5, 33):
        x = table(60).train.x[:count]
        torch.testing.assert_close(exported(x), net(x), rtol=1e-4, atol=1e-5)
