"""A pretrained network from a file: read safely, frozen or tuned, resumed to the bit, and exported whole."""

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import safetensors.torch
import torch
from torch import nn
from torchvision.models import get_model

import spaces.space
from analysis import predict
from analysis.model.load import load_model
from analysis.model.write import export_model
from search.process.arguments import parse
from search.session.options import Options
from search.session.session import Session
from search.storage.run import read_run
from search.storage.study import new_run
from tests.pictures import make_folder
from tests.recipes import TIMES
from trainables.augmentation.augment import AugmentConfig
from trainables.data.architectures import ARCHITECTURES, families, locate_backbone
from trainables.data.dataset import Dataset, from_arrays
from trainables.data.options import BackboneFile, ImageOptions
from trainables.models.backbone import MEAN, STD, BackboneConfig, Pretrained
from trainables.models.cost import measure_cost
from trainables.sources.load import load
from trainables.sources.weights import read_backbone
from trainables.trainable import Keep
from trainables.training.best_epoch import BestEpoch
from trainables.training.config import TrainConfig
from trainables.training.device import FLOAT32
from trainables.training.optim import AdamWConfig, SgdConfig
from trainables.training.training import Training

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = "shufflenet_v2_x0_5"
FROZEN = TrainConfig(model=BackboneConfig(), optimizer=AdamWConfig(lr=0.01), batch_size=8)
TUNED = replace(FROZEN, model=BackboneConfig(tuned=True, lr_factor=0.2))
TURNED = AugmentConfig(rotation=20.0, flip="random")
CONFIGS = {
    "frozen": FROZEN,
    "frozen, augmented": replace(FROZEN, augmentation=TURNED),
    "frozen, averaged": replace(FROZEN, ema_decay=0.9, model=BackboneConfig(head_dropout=0.3)),
    "tuned": TUNED,
    "tuned, averaged": replace(TUNED, ema_decay=0.9, augmentation=TURNED, optimizer=SgdConfig(lr=0.01), clip_norm=1.0),
}


@pytest.fixture(scope="module")
def network() -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return get_model(SMALL, weights=None, num_classes=5).eval()


@pytest.fixture(scope="module")
def weights(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def dataset(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = make_folder(tmp_path_factory.mktemp("images"))
    file = BackboneFile(path=str(weights))
    return load("image_folder", folder, validation_fraction=0.3, images=ImageOptions(size=32, backbone=file))


def read(path: Path, architecture: str = "") -> str:
    backbone, file = read_backbone(BackboneFile(path=str(path), architecture=architecture))
    assert backbone.architecture == file.architecture
    assert backbone.sha256 == file.sha256
    return backbone.architecture


def test_the_architecture_is_found_from_the_names_and_shapes_of_the_weights(weights: Path, network, tmp_path) -> None:
    state = network.state_dict()
    wrapped = {
        "plain.pth": state,
        "lightning.ckpt": {"state_dict": {f"model.{name}": value for name, value in state.items()}, "epoch": 3},
        "parallel.pt": {"model": {f"module.{name}": value for name, value in state.items()}},
        "half.pth": {name: value.half() if value.is_floating_point() else value for name, value in state.items()},
        "without-counters.pth": {name: value for name, value in state.items() if "num_batches" not in name},
        "without-head.pth": {name: value for name, value in state.items() if not name.startswith("fc.")},
    }
    for name, content in wrapped.items():
        torch.save(content, tmp_path / name)
        assert read(tmp_path / name) == read(tmp_path / name, SMALL) == SMALL, name
    safetensors.torch.save_file(state, tmp_path / "small.safetensors")
    assert read(tmp_path / "small.safetensors") == SMALL


@pytest.mark.parametrize(
    "name", ["resnet18", "densenet121", "mnasnet0_5", "convnext_tiny", "vit_b_16", "vgg11", "swin_t"]
)
def test_one_tensor_says_the_family(name: str) -> None:
    with torch.device("meta"):
        found = families(get_model(name, weights=None).state_dict())
    assert name in found
    assert set(found) <= set(ARCHITECTURES)


class Runs:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("unpickled"),)


def test_a_file_that_is_no_state_dict_is_refused_in_one_line(weights, network, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    state = network.state_dict()
    bad: dict[str, tuple[Any, str]] = {
        "network.pth": (
            network,
            "contains a whole network or other objects; it must be a state dict: save one with torch.save(",
        ),
        "code.pth": (Runs(), "contains a whole network or other objects"),
        "list.pth": ([1, 2], "holds no weights by name"),
        "empty.pth": ({}, "holds no weights by name"),
        "other.pth": ({"weight": torch.zeros(3)}, "fits no architecture of torchvision; name the one it should be"),
        "nan.pth": ({**state, "conv1.0.weight": state["conv1.0.weight"] * torch.nan}, "'conv1.0.weight' that are not"),
    }
    for name, (content, message) in bad.items():
        torch.save(content, name)
        with pytest.raises(ValueError, match="^--backbone ") as raised:
            read(tmp_path / name)
        assert message in str(raised.value)
        assert "\n" not in str(raised.value)
    Path("text.pth").write_text("no weights")
    Path("cut.pth").write_bytes(weights.read_bytes()[:5000])
    for name in ("text.pth", "cut.pth"):
        with pytest.raises(ValueError, match=rf"{name}' is no undamaged file of torch; it must be a state dict"):
            read(tmp_path / name)
    with pytest.raises(ValueError, match="nowhere.pth' cannot be read: No such file"):
        read(tmp_path / "nowhere.pth")
    assert not Path("unpickled").exists()


def test_weights_that_do_not_fit_the_named_architecture_are_refused_with_the_difference(weights: Path) -> None:
    with pytest.raises(ValueError, match="does not fit resnet18: it lacks 'conv1.weight'"):
        read(weights, "resnet18")
    with pytest.raises(ValueError, match=r"does not fit shufflenet_v2_x1_0: '.*' is 24 x .* instead of 58 x "):
        read(weights, "shufflenet_v2_x1_0")
    with pytest.raises(ValueError, match=r"'resnet81', which cannot be a backbone \(did you mean resnet18\?\)"):
        read(weights, "resnet81")


def test_a_text_names_a_file_and_perhaps_an_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate_backbone("w.pth") == BackboneFile(path=str(tmp_path / "w.pth"))
    assert locate_backbone("resnet18:w.pth") == BackboneFile(path=str(tmp_path / "w.pth"), architecture="resnet18")
    assert locate_backbone("/a/b:c.pth") == BackboneFile(path="/a/b:c.pth")


@pytest.mark.parametrize("channels", [1, 3])
def test_features_are_those_of_torchvision_on_the_usual_statistics(dataset, network, channels: int) -> None:
    images = torch.randint(0, 256, (4, channels, 32, 32), generator=torch.Generator().manual_seed(0)).byte()
    split = replace(dataset.train, x=images, y=torch.arange(4) % 2)
    mine = replace(dataset, train=split, mean=(0.3, 0.5, 0.6)[:channels], std=(0.2, 0.1, 0.3)[:channels])
    training = Training(FROZEN, mine, epochs=1, seed=0, numerics=FLOAT32)
    assert isinstance(training.model, Pretrained)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    body = get_model(SMALL, weights=None, num_classes=5)
    body.load_state_dict(network.state_dict())
    body.fc = nn.Identity()
    with torch.no_grad():
        expected = body.eval()((images.expand(4, 3, 32, 32) / 255 - mean) / std)
        found = training.model.eval().features(training.normalize(images))
    torch.testing.assert_close(found, nn.functional.layer_norm(expected, expected.shape[1:]), atol=2e-4, rtol=2e-4)


def test_a_frozen_backbone_stays_as_it_is_and_a_tuned_one_learns_slowly(dataset: Dataset) -> None:
    for name, config in CONFIGS.items():
        training = Training(config, dataset, epochs=2, seed=0)
        before = {key: value.clone() for key, value in training.model.body.state_dict().items()}
        training.run_epoch()
        training.run_epoch()
        changed = [
            key for key, value in training.model.body.state_dict().items() if not torch.equal(value, before[key])
        ]
        assert bool(changed) == ("tuned" in name), name
        rates = {
            round(group["lr"] / training.optimizer.param_groups[0]["lr"], 6)
            for group in training.optimizer.param_groups
        }
        assert rates == ({1.0, 0.2} if "tuned" in name else {1.0})
        assert (len(training.state()["model"]) == 2) == ("frozen" in name)


def test_features_are_computed_once_for_each_image(dataset: Dataset) -> None:
    def passes(config: TrainConfig) -> list[int]:
        rows: list[int] = []
        training = Training(config, mine, epochs=3, seed=0)
        first = training.model.body.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
        for _ in range(3):
            training.run_epoch()
        first.remove()
        return rows

    mine = replace(dataset, backbone=replace(dataset.backbone, known={}))
    known = mine.backbone.known
    assert passes(FROZEN) == []
    kept = {key: value[1] for key, value in known["features"].items()}
    assert sorted(map(len, kept.values())) == [len(dataset.validation), len(dataset.train)]
    assert passes(replace(FROZEN, batch_size=4)) == []
    assert {key: value[1] for key, value in known["features"].items()} == kept  # not computed again
    assert sum(passes(replace(FROZEN, augmentation=TURNED))) == 3 * 8  # a batch of training images in every epoch


@pytest.mark.parametrize("name", CONFIGS)
def test_a_training_is_resumed_to_the_bit_also_on_another_node(name: str, dataset: Dataset) -> None:
    whole = Training(CONFIGS[name], dataset, epochs=3, seed=1)
    state = None
    for epoch in range(3):
        whole.run_epoch()
        state = pickle.loads(pickle.dumps(whole.state())) if epoch == 0 else state
    sent = from_arrays(pickle.loads(pickle.dumps(dataset.arrays())))
    assert sent.backbone is not None
    assert sent.backbone.known == {}
    resumed = Training(CONFIGS[name], sent, epochs=3, seed=1)
    resumed.restore(state)  # type: ignore[arg-type]
    resumed.run_epoch()
    resumed.run_epoch()
    plain = [[{k: v for k, v in r.items() if k not in TIMES} for r in t.history[-2:]] for t in (whole, resumed)]
    assert plain[0] == plain[1]
    assert torch.equal(whole.predict(dataset.validation.x), resumed.predict(dataset.validation.x))


def test_a_state_of_another_network_is_refused(dataset: Dataset) -> None:
    state = Training(TUNED, dataset, epochs=3, seed=0).state()
    with pytest.raises(ValueError, match="the checkpoint is from a different configuration"):
        Training(FROZEN, dataset, epochs=3, seed=0).restore(state)


def test_every_draw_of_the_space_can_be_trained(dataset: Dataset) -> None:
    space = spaces.space.load("image_folder_backbone")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    kinds = set()
    for number in range(8):
        trial = study.ask()
        config = space.suggest(trial)
        kinds.add(trial.params["backbone"])
        if trial.params["backbone"] == "none":
            config = replace(config, model=replace(config.model, widths=(8,) * len(config.model.widths)))
        assert measure_cost(config.model, dataset).num_weights > 0
        assert np.isfinite(Training(config, dataset, epochs=1, seed=number).run_epoch()["train_loss"])
    assert kinds == {"frozen", "tuned", "none"}


def test_without_a_file_the_remedy_is_named(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="needs a pretrained network; give its file with --backbone"):
        BackboneConfig().build(replace(dataset, backbone=None))
    for fields, message in (
        ({"lr_factor": 0.0}, r"lr_factor must lie in \(0, 1\]"),
        ({"head_dropout": 1.0}, "head_dro"),
    ):
        with pytest.raises(ValueError, match=message):
            BackboneConfig(**fields)


@pytest.mark.parametrize("name", ["frozen", "tuned"])
def test_the_exported_model_needs_no_file_of_the_backbone(name: str, dataset: Dataset, tmp_path: Path, capsys) -> None:
    training = Training(CONFIGS[name], dataset, epochs=1, seed=0)
    training.run_epoch()
    space = spaces.space.load("image_folder_backbone")
    params = {**space.baseline, "backbone": name} | ({"backbone_lr_factor": 0.2} if name == "tuned" else {})
    (tmp_path / "final").mkdir()
    export_model(tmp_path / "final", training, facts={"space": "image_folder_backbone", "params": params, "seed": 0})
    stored = json.loads((tmp_path / "final" / "model.json").read_text())
    assert stored["images"]["backbone"]["path"] == "small.pth"  # not where it is on this machine
    model = load_model(tmp_path)
    expected = training.predict(dataset.validation.x).softmax(1).numpy()
    np.testing.assert_allclose(model.predict(dataset.validation.x), expected, atol=1e-5)
    folder = Path(make_folder(tmp_path / "images"))
    assert predict.main([str(tmp_path), str(folder / "train" / "cat" / "0.png")]) == 0
    assert "%" in capsys.readouterr().out
    stored["images"]["backbone"]["architecture"] = "resnet81"
    (tmp_path / "final" / "model.json").write_text(json.dumps(stored))
    assert predict.main([str(tmp_path), str(folder / "train" / "cat" / "0.png")]) == 2
    assert "cannot be a backbone" in capsys.readouterr().err


def opened(tmp_path: Path, *words: str, given: tuple[str, ...] = ()) -> Session:
    fixed = ["--data-dir", str(tmp_path / "images"), "--runs-dir", str(tmp_path / "runs"), "--name", "x"]
    return Session.open(parse(Options, [*fixed, *words], prog="search.run"), given=given)


def test_a_run_knows_its_backbone_by_its_checksum(weights: Path, tmp_path: Path) -> None:
    make_folder(tmp_path / "images")
    mine = tmp_path / "mine.pth"
    mine.write_bytes(weights.read_bytes())
    session = opened(tmp_path, "--space", "image_folder_arch", "--backbone", f"{SMALL}:{mine}")
    assert session.run.space == "image_folder_backbone"
    assert session.run.images is not None
    assert session.run.images.size == 64
    file = session.run.images.backbone
    assert file is not None
    assert (file.path, file.architecture, len(file.sha256)) == (str(mine), SMALL, 64)
    assert any("the backbone is the shufflenet_v2_x0_5 in mine.pth" in note for note in session.dataset.notes)
    new_run(session.run_dir, session.run)
    assert read_run(session.run_dir) == session.run
    assert opened(tmp_path, "--resume").dataset.backbone.sha256 == file.sha256

    mine.rename(tmp_path / "moved.pth")
    with pytest.raises(ValueError, match=r"mine.pth' cannot be read: No such file"):
        opened(tmp_path, "--resume")
    moved = opened(tmp_path, "--resume", "--backbone", str(tmp_path / "moved.pth"), given=("backbone",))
    assert moved.run.images == replace(session.run.images, backbone=replace(file, path=str(tmp_path / "moved.pth")))
    torch.save({}, mine)
    with pytest.raises(ValueError, match=r"is not the file that the run began with \(sha256 .*give its new place"):
        opened(tmp_path, "--resume")


def test_a_fixed_side_is_chosen_or_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainables.data.architectures import check_side, fixed_side

    assert (fixed_side("vit_b_16"), fixed_side("resnet18")) == (224, None)
    check_side("vit_b_16", 224)
    with pytest.raises(ValueError, match="--image-size must be 224 for vit_b_16, got 64"):
        check_side("vit_b_16", 64)


def test_the_weights_of_a_kept_epoch_are_those_of_the_output_layer(dataset: Dataset) -> None:
    kept = BestEpoch(Training(FROZEN, dataset, epochs=3, seed=0), Keep(metric="accuracy", maximize=True))
    kept.run_epoch()
    state = kept.state()
    assert sorted(state["weights"]) == ["1.bias", "1.weight"]
    kept.run_epoch()
    resumed = BestEpoch(Training(FROZEN, dataset, epochs=3, seed=0), Keep(metric="accuracy", maximize=True))
    resumed.restore(state)
    resumed.run_epoch()
    assert torch.equal(kept.predict(dataset.validation.x), resumed.predict(dataset.validation.x))
