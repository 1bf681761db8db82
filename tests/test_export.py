"""The exported model answers as the network it was made from, and refuses to load when anything was changed."""

import hashlib
import importlib.util
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from analysis.model.load import load_model
from analysis.model.write import ONNX_PACKAGES, check_onnx, export_onnx, verify_export
from analysis.prose.card import model_card
from analysis.studies.results import FinalResults
from tests.exported import Exported, export_digits

has_onnx = all(importlib.util.find_spec(name) for name in ONNX_PACKAGES)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export_digits(tmp_path_factory.mktemp("export") / "run")


@pytest.fixture
def copy(exported: Exported, tmp_path: Path) -> Path:
    """A run that a test may damage."""
    return Path(shutil.copytree(exported.run_dir, tmp_path / "run")) / "final"


def change(final_dir: Path, **fields: object) -> None:
    path = final_dir / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_the_exported_model_answers_every_test_row_as_its_network(exported: Exported):
    found = load_model(exported.run_dir).predict(exported.x)
    np.testing.assert_array_equal(found.argmax(1), exported.expected.argmax(1))
    np.testing.assert_allclose(found, exported.expected, atol=1e-6)
    assert verify_export(exported.final_dir, exported.x, exported.expected)["agreeing"] == len(exported.x)


def test_averaged_weights_are_what_is_exported(tmp_path: Path):
    averaged = export_digits(tmp_path / "run", ema_decay=0.99)
    np.testing.assert_allclose(load_model(averaged.run_dir).predict(averaged.x), averaged.expected, atol=1e-6)


def test_an_export_that_answers_differently_is_not_passed_over(exported: Exported):
    wrong = exported.expected[:, ::-1]
    with pytest.raises(RuntimeError, match=r"predicts \d+ of 359 rows differently"):
        verify_export(exported.final_dir, exported.x, wrong)


def test_a_flipped_bit_in_the_weights_is_refused_by_checksum(copy: Path):
    data = bytearray((copy / "model.safetensors").read_bytes())
    data[-100] ^= 1
    (copy / "model.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match=r"model\.safetensors was refused: its sha256 is [0-9a-f]{12}"):
        load_model(copy.parent)


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_a_missing_file_is_named(copy: Path, name: str):
    (copy / name).unlink()
    with pytest.raises(ValueError, match=r"missing|has no exported model"):
        load_model(copy)


def test_a_pickle_in_place_of_the_weights_is_never_opened(copy: Path, tmp_path: Path):
    class Touch:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "touched",))

    data = pickle.dumps(Touch())
    (copy / "model.safetensors").write_bytes(data)
    change(copy, sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(ValueError, match="is not a safetensors file"):
        load_model(copy)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("classes", [["a", "b"], [str(i) for i in range(9)] + ["ten"], []])
def test_a_class_set_that_is_not_the_one_trained_on_is_refused(copy: Path, classes: list[str]):
    change(copy, classes=classes)
    with pytest.raises(ValueError, match="but its weights were trained on others"):
        load_model(copy)


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"space": "digits_arc"}, r"did you mean digits_arch\?"),
        ({"space": None}, "must contain 'space' as a str"),
        ({"params": {}}, "is missing; give a value"),
        ({"format": 99}, "upgrade rungwise"),
        ({"format": None}, "is not the description of a model"),
        ({"image_shape": "8"}, "must contain 'image_shape' as a list"),
        ({"image_shape": [1, -8, 8]}, "must contain 'image_shape' as one or three sizes"),
        ({"image_shape": []}, "must contain 'image_shape' as one or three sizes"),
        ({"mean": ["x"]}, "must contain 'mean' as finite numbers"),
        ({"std": [float("nan")]}, "must contain 'std' as finite numbers"),
        ({"task": "ranking"}, "must have the task classification or regression, got 'ranking'"),
        ({"task": "regression"}, "must contain 'target_mean' as finite numbers, got None"),
        ({"task": "regression", "target_mean": 0, "target_std": float("inf")}, "'target_std' as finite numbers"),
    ],
)
def test_a_description_that_cannot_be_used_says_why(copy: Path, fields: dict, cause: str):
    change(copy, **fields)
    with pytest.raises(ValueError, match=cause):
        load_model(copy)


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"mean": [0.5]}, r"has the mean \[0.5\], but its weights were trained with \["),
        ({"std": [1.0]}, r"has the std \[1.0\], but its weights"),
        ({"params": {"activation": "gelu"}}, "has the activation gelu, but its weights were trained with "),
        ({"image_shape": [1, 16, 16]}, r"has the image_shape \[1, 16, 16\], but its weights"),
        ({"target_mean": 3.0}, "has the target_mean 3.0, but its weights were trained with None"),
        ({"task": "regression", "target_mean": 0, "target_std": 1}, "has the (task|target_mean) .*, but its weights"),
    ],
)
def test_what_decides_the_answers_cannot_be_changed_beside_the_weights(copy: Path, fields: dict, cause: str):
    if "params" in fields:
        fields = {"params": {**json.loads((copy / "model.json").read_text())["params"], **fields["params"]}}
    change(copy, **fields)
    with pytest.raises(ValueError, match=rf"model\.json {cause}.*restore it or export it again"):
        load_model(copy)


def test_an_export_of_an_earlier_release_is_read(copy: Path, exported: Exported):
    data = (copy / "model.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    weights = safetensors.torch.load(data)
    older = safetensors.torch.save(weights, metadata={k: v for k, v in header.items() if k != "decisive"})
    (copy / "model.safetensors").write_bytes(older)
    change(copy, sha256=hashlib.sha256(older).hexdigest())
    np.testing.assert_array_equal(load_model(copy).predict(exported.x[:9]).argmax(1), exported.expected[:9].argmax(1))


def test_weights_of_another_network_are_refused(copy: Path):
    params = json.loads((copy / "model.json").read_text())["params"]
    change(copy, params={**params, "width_0": 16})
    with pytest.raises(ValueError, match="the weights do not fit the network of space 'digits_arch'"):
        load_model(copy)


@pytest.mark.parametrize(
    "content", [b'{"format": 1,', bytes(99), b"\xff", b"[" * 100_000, b'{"format": ' + b"9" * 5000 + b"}"]
)
def test_a_damaged_description_is_refused(copy: Path, content: bytes):
    (copy / "model.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.json is damaged"):
        load_model(copy)


def test_any_safetensors_reader_can_read_the_weights(exported: Exported):
    weights = safetensors.torch.load_file(exported.final_dir / "model.safetensors")
    assert all(isinstance(tensor, torch.Tensor) for tensor in weights.values())
    stored = json.loads((exported.final_dir / "model.json").read_text())
    assert stored["num_weights"] <= sum(tensor.numel() for tensor in weights.values())


@pytest.mark.skipif(has_onnx, reason="the packages are here")
def test_missing_onnx_packages_are_named_in_one_line():
    with pytest.raises(ValueError, match=r"--onnx needs onnx.*pip install"):
        check_onnx()


@pytest.mark.slow
@pytest.mark.skipif(not has_onnx, reason="needs onnx, onnxscript and onnxruntime")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_the_onnx_file_answers_as_the_exported_model(copy: Path, exported: Exported):
    found = export_onnx(copy, exported.x)
    assert found["agreeing"] == found["rows"] == len(exported.x)
    assert found["largest_difference"] < 1e-3
    assert (copy / "model.onnx").stat().st_size > 1000


def test_the_model_card_states_scores_conditions_and_checksum_and_escapes_what_is_not_ours(exported: Exported):
    facts = json.loads((exported.final_dir / "model.json").read_text())
    facts["classes"] = ["<script>", *facts["classes"][1:]]
    facts["dataset"] = "image_folder"
    score = {"value": 0.9, "low": 0.85, "high": 0.94}
    winner = {"name": "trial-3", "role": "top", "trial": 3, "seeds": [1, 2]}
    winner |= {"scores": {"accuracy": score}, "by_seed": {"accuracy": [0.9, 0.9]}, "difference": score}
    results = {
        "format": 1,
        "winner": "trial-3",
        "entrants": [winner],
        "conditions": {"epochs": 4, "train_rows": 1438, "test_rows": 359, "device": "cpu"},
        "machine": {"cpu_model": "some CPU"},
        "slots": 2,
        "openings": 2,
        "run": "r",
        "run_dir": "runs/r",
        "metric": "accuracy",
        "discussion": [{"topic": "weakness", "text": "The class with the lowest recall is '<script>': 12 %."}],
        "command": "python -m analysis.final runs/r",
        "created": "2026-01-01",
        "versions": {"torch": "2"},
    }
    card = model_card(FinalResults.of(results), facts)
    assert "| accuracy | 90.00 % [85.00, 94.00] |" in card
    assert facts["sha256"] in card
    assert "opened 2 times" in card
    assert "\ndatasets: [image_folder]\n" in card
    assert '\ndatasets: ["my: set"]\n' in model_card(FinalResults.of(results), {**facts, "dataset": "my: set"})
    assert "<script>" not in card
    for heading in ("Model details", "Intended use", "How to use", "Evaluation", "Limitations", "Reproduce"):
        assert f"## {heading}\n" in card
