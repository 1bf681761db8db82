"""Writes the winner for use elsewhere: model.safetensors, model.json, a model card, and ONNX on request.

The network exported is that of the winner's first seed, whatever its test score: picking the luckiest seed would make
the score in the card a promise that the next image does not keep.
"""

import hashlib
import importlib.util
import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from analysis.model.load import FORMAT, decisive, load_model, stand_in
from analysis.model.scale import fitted, scale_in
from trainables.data.dataset import Dataset
from trainables.data.grey_levels import as_stored
from trainables.files.whole import write_whole
from trainables.training.training import Training

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_OPSET = 18
"""Version of the ONNX operators."""


def check_onnx() -> None:
    """Raise ValueError unless the packages that ONNX needs are installed."""
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"--onnx needs {', '.join(missing)}; pip install {' '.join(missing)}, or leave it out")


def export_model(final_dir: Path, training: Training, *, facts: dict[str, Any]) -> dict[str, Any]:
    """Write weights and model.json, each whole or not at all, the weights first.

    Args:
        training: holds the network.
        facts: what model.json says beside what follows from the network.

    Returns:
        model.json as written.
    """
    weights = weights_of(training)
    dataset = training.dataset
    named = _names(dataset)
    stored = {
        "format": FORMAT,
        **facts,
        "dataset": dataset.name,
        "dataset_checksum": dataset.checksum,
        "task": dataset.task,
        **named,
        **fitted(training),
        "image_shape": list(dataset.image_shape),
        "images": _form(dataset),
        "num_weights": training.num_weights,
        "macs": training.macs,
    }
    if dataset.columns:
        stored |= {"target": dataset.target, "target_unit": dataset.target_unit}
    metadata = {name: json.dumps(value) for name, value in named.items()}
    data = safetensors.torch.save(weights, metadata={"format": "pt", **metadata, "decisive": decisive(stored)})
    stored["sha256"] = hashlib.sha256(data).hexdigest()
    write_whole(final_dir / "model.safetensors", data)
    write_whole(final_dir / "model.json", (json.dumps(stored, indent=2) + "\n").encode())
    return stored


def weights_of(training: Training) -> dict[str, Tensor]:
    """The weights of the network that is kept, by name."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in training.kept.state_dict().items()}


def _names(dataset: Dataset) -> dict[str, Any]:
    """The parts of model.json that say how inputs become rows and outputs become predictions."""
    named = {"classes": list(dataset.classes), "columns": [asdict(column) for column in dataset.columns]}
    if dataset.levels:
        named["levels"] = as_stored(dataset.levels)
    return json.loads(json.dumps(named))


def _form(dataset: Dataset) -> dict[str, Any] | None:
    """How images become squares; of a backbone the name of its file, not its place on this machine."""
    if dataset.images is None:
        return None
    file = dataset.images.backbone
    kept = file and replace(file, path=Path(file.path).name)
    return asdict(replace(dataset.images, backbone=kept))


def verify_export(final_dir: Path, x: Tensor, expected: np.ndarray, *, device: str = "cpu") -> dict[str, Any]:
    """Load the export again and compare its answers with those of the network it was made from, row by row.

    Args:
        x: test rows.
        expected: probabilities (N, K) or predictions (N,) of the network in training form.
        device: on which they were computed.

    Raises:
        RuntimeError: a row is answered differently.
    """
    model = load_model(final_dir)
    found = model.predict(x, device=device)
    if expected.ndim == 2:
        agreeing = int((found.argmax(1) == expected.argmax(1)).sum())
    else:
        middle, spread = model.facts["target_mean"], model.facts["target_std"]
        agreeing = int((np.abs(found - expected) <= 1e-4 * (spread + np.abs(expected - middle))).sum())
    if agreeing != len(x):
        raise RuntimeError(
            f"the exported model predicts {len(x) - agreeing} of {len(x)} rows differently from the trained network; "
            f"do not use it"
        )
    return {"rows": len(x), "agreeing": agreeing, "largest_difference": float(np.abs(found - expected).max())}


class _Standalone(nn.Module):
    """From grey levels 0..255, or the rows of a table, to logits or to predictions in the unit of the target.

    So the ONNX file needs no statistics beside it; a network for tables contains its own.
    """

    def __init__(self, network: nn.Module, facts: dict[str, Any]) -> None:
        super().__init__()
        images = len(facts["image_shape"]) == 3
        mean, std = (255 * torch.tensor(facts[name]).view(-1, 1, 1) for name in ("mean", "std"))
        self.network = network
        self.mean, self.std = nn.Buffer(mean if images else torch.zeros(1)), nn.Buffer(std if images else torch.ones(1))
        self.outputs = torch.float64 if facts.get("target_wide") else torch.float32
        self.scale = scale_in(facts)
        scale = (facts.get("target_std", 1.0), facts.get("target_mean", 0.0))
        # as tensors, since plain numbers are exported as float32
        self.factor, self.shift = (nn.Buffer(torch.tensor(one, dtype=self.outputs)) for one in scale)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean) / self.std
        outputs = self.network(x)
        if self.scale is not None:
            return self.scale.to_units(outputs)
        return outputs.to(self.outputs) * self.factor + self.shift  # (N, K)


def export_onnx(final_dir: Path, x: Tensor) -> dict[str, Any]:
    """Write final/model.onnx and compare its answers with the exported model's on these rows.

    Its input `x` is float32: (N, C, H, W) in 0..255, normalised inside, or the rows (N, F) of a table as
    `trainables.data.table.encode` makes them, float64 where a column needs it. Its output are logits (N, K), or
    predictions (N, 1) in the target's unit.

    Returns:
        Path, rows compared, and rows with the same largest logit or, within float32, the same prediction.
    """
    import onnxruntime  # pyright: ignore[reportMissingImports]

    model = load_model(final_dir)
    module = _Standalone(model.network, model.facts).eval()
    numbers = torch.float64 if stand_in(model.facts).train.x.dtype == torch.float64 else torch.float32
    exported = _as_onnx(module, torch.zeros(2, *model.image_shape, dtype=numbers))
    write_whole(final_dir / "model.onnx", exported)
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    found = np.asarray(session.run(None, {"x": x.to(numbers).numpy()})[0])
    with torch.no_grad():
        expected = module(x.to(numbers)).numpy()  # as ONNX computes
    near = 1e-4 * (module.factor.item() + np.abs(expected[:, 0] - module.shift.item()))
    same = found.argmax(1) == expected.argmax(1) if model.classes else np.abs(found - expected)[:, 0] <= near
    return {
        "path": "model.onnx",
        "rows": len(x),
        "agreeing": int(same.sum()),
        "largest_difference": float(np.abs(found - expected).max()),
    }


def _as_onnx(module: nn.Module, example: Tensor) -> bytes:
    """The network in the form of ONNX, for any number of rows like those of the example."""
    import onnx  # pyright: ignore[reportMissingImports]

    program = torch.onnx.export(
        module,
        (example,),
        input_names=["x"],
        output_names=["outputs"],
        dynamic_shapes={"x": {0: torch.export.Dim("rows")}},
        opset_version=_OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    buffer = io.BytesIO()
    onnx.save_model(program.model_proto, buffer)
    return buffer.getvalue()
