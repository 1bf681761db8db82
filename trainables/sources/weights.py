"""Reads the file of a pretrained network: a state dict of an architecture of torchvision, and nothing that can run."""

import hashlib
import re
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainables.data.architectures import check_architecture, families
from trainables.data.backbone import Backbone
from trainables.data.options import BackboneFile, ImageOptions

_WRAPPERS = ("state_dict", "model_state_dict", "model", "network")
"""Names under which training scripts save a state dict."""
_PREFIXES = ("module.", "model.", "backbone.", "network.")
_OLD_DENSENET = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..+)")
"""Names in the first files of densenet, in which torchvision leaves out the last dot."""
_EARLIER = b"\x80\x02"
"""The first bytes of a file that an early release of torch saved."""
_HOW = "save one with torch.save(network.state_dict(), 'weights.pth')"


def read_backbone(file: BackboneFile) -> tuple[Backbone, BackboneFile]:
    """The backbone in a file, and the file with its architecture and its checksum.

    Raises:
        ValueError: the file is missing, is not the one of its checksum, or holds no state dict of a known architecture.
    """
    path = Path(file.path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"--backbone {file.path!r} cannot be read: {error.strerror or error}") from None
    sha256 = hashlib.sha256(content).hexdigest()
    if file.sha256 and sha256 != file.sha256:
        raise ValueError(
            f"--backbone {file.path!r} is not the file that the run began with (sha256 {sha256[:12]}, not "
            f"{file.sha256[:12]}); restore it, or give its new place with --backbone"
        )
    weights = _plain(_state_dict(path), file.path)
    architecture = file.architecture or _find(weights, file.path)
    kept = _fitting(weights, architecture, file.path)
    return (
        Backbone(architecture=architecture, sha256=sha256, weights=kept),
        replace(file, architecture=architecture, sha256=sha256),
    )


def describe_backbone(backbone: Backbone | None, images: ImageOptions | None) -> tuple[str, ...]:
    """A note on what was read; none without a backbone."""
    if backbone is None or images is None or images.backbone is None:
        return ()
    read = f"{backbone.architecture} in {Path(images.backbone.path).name} ({backbone.num_weights / 1e6:.1f}M weights)"
    return (f"the backbone is the {read}; the parameter `backbone` says whether it is used, frozen or tuned",)


def head_name(network: nn.Module) -> str:
    """The name of the output layer: the last linear layer."""
    return [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)][-1]


def _state_dict(path: Path) -> Mapping[str, Any]:
    """What the file holds; numbers only, so that opening it runs no code."""
    try:
        if path.suffix == ".safetensors":
            import safetensors.torch

            return safetensors.torch.load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # damaged files raise nearly anything; a pickled network is refused by torch
        objects = zipfile.is_zipfile(path) or path.read_bytes()[:2] == _EARLIER
        reason = "contains a whole network or other objects" if objects else "is no undamaged file of torch"
        raise ValueError(f"--backbone {str(path)!r} {reason}; it must be a state dict: {_HOW}") from None
    for name in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    return found if isinstance(found, Mapping) else {}


def _plain(found: Mapping[str, Any], path: str) -> dict[str, Tensor]:
    """The tensors by their names in torchvision.

    Raises:
        ValueError: there are none, or some are not finite.
    """
    tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ValueError(f"--backbone {path!r} holds no weights by name; {_HOW}")
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    for name, value in tensors.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(f"--backbone {path!r} has values in {name!r} that are not finite; use another file")
    return {_OLD_DENSENET.sub(r"\1\2", name): value for name, value in tensors.items()}


def _shapes(architecture: str) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor of an architecture, without the output layer.

    No weights are allocated, except for a regnet, which computes its widths with tensors.
    """
    from torchvision.models import get_model

    with torch.device("cpu" if architecture.startswith("regnet") else "meta"), torch.random.fork_rng([]):
        network = get_model(architecture, weights=None)
    head = head_name(network)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    return {name: shape for name, shape in shapes.items() if name.rpartition(".")[0] != head}


def _difference(weights: Mapping[str, Tensor], architecture: str) -> str:
    """Where a file differs from an architecture, in words; empty if it fits."""
    for name, shape in _shapes(architecture).items():
        if name not in weights:
            if name.endswith("num_batches_tracked"):  # older files lack it, and nothing depends on it
                continue
            return f"it lacks {name!r}"
        if tuple(weights[name].shape) != shape:
            sizes = [" x ".join(map(str, one)) or "one number" for one in (weights[name].shape, shape)]
            return f"{name!r} is {sizes[0]} instead of {sizes[1]}"
    return ""


def _find(weights: Mapping[str, Tensor], path: str) -> str:
    """The architecture whose tensors the file has; the most specific one if it has those of several.

    Raises:
        ValueError: there is none.
    """
    fitting = [name for name in families(weights) if not _difference(weights, name)]
    if not fitting:
        raise ValueError(
            f"--backbone {path!r} fits no architecture of torchvision; name the one it should be, as in resnet18:{path}"
        )
    return max(fitting, key=lambda name: len(_shapes(name)))


def _fitting(weights: Mapping[str, Tensor], architecture: str, path: str) -> dict[str, np.ndarray]:
    """The weights that the architecture takes, as arrays.

    Raises:
        ValueError: they do not fit.
    """
    check_architecture(architecture)
    if found := _difference(weights, architecture):
        raise ValueError(f"--backbone {path!r} does not fit {architecture}: {found}")
    kept = {name: weights[name].detach() for name in _shapes(architecture) if name in weights}
    return {name: (value.float() if value.is_floating_point() else value).numpy() for name, value in kept.items()}
