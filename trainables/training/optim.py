"""The optimiser and the learning-rate schedule of one configuration."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from trainables.models.backbone import Pretrained
from trainables.training.muon import Muon


@dataclass(frozen=True, kw_only=True)
class SgdConfig:
    """Stochastic gradient descent with Nesterov momentum."""

    lr: float
    """The highest learning rate of the schedule."""
    momentum: float = 0.9
    weight_decay: float = 5e-4
    """L2 penalty on weights; norms and biases have none."""
    bias_factor: float = 1.0
    """Learning rate of the norms and biases of convolutions, as a multiple of `lr`."""
    head_factor: float = 1.0
    """Learning rate of the matrices of an image network, which follow the convolutions, and of their biases."""

    def __post_init__(self) -> None:
        _check_rates(self.lr, self.weight_decay)
        _check_momentum(self.momentum)
        for name in ("bias_factor", "head_factor"):
            _check_rates(getattr(self, name), self.weight_decay, name)

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimiser over this model's weights, fused into one kernel call per group."""
        groups = weight_groups(model, self.weight_decay)
        if self.bias_factor != 1.0 or self.head_factor != 1.0:
            groups = self._by_kind(model)
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=True, fused=True)

    def _by_kind(self, model: nn.Module) -> list[dict]:
        filters, head, vectors = convolutional_kinds(model)
        kinds = (
            (filters, self.weight_decay, 1.0),
            ([weight for weight in head if weight.ndim > 1], self.weight_decay, self.head_factor),
            ([weight for weight in head if weight.ndim <= 1], 0.0, self.head_factor),
            (vectors, 0.0, self.bias_factor),
        )
        return [{"params": own, "weight_decay": decay, "lr_factor": factor} for own, decay, factor in kinds if own]


@dataclass(frozen=True, kw_only=True)
class MuonConfig:
    """Muon for the filters of convolutions, and Nesterov SGD for all other weights."""

    lr: float
    """The highest rate of the schedule for filters: the size of a step relative to the filters."""
    momentum: float = 0.6
    """Of the filters."""
    bias_lr: float = 25.0
    """The highest learning rate of the norms and biases of convolutions, whose gradients are small."""
    head_lr: float = 0.005
    """The highest learning rate of the matrices that follow the convolutions, and of their biases."""
    weight_decay: float = 0.0
    """Share by which biases and matrices shrink in a step at the highest rate; filters keep their norm."""
    other_momentum: float = 0.85
    """Of norms, biases and matrices."""

    def __post_init__(self) -> None:
        for name in ("lr", "bias_lr", "head_lr"):
            _check_rates(getattr(self, name), self.weight_decay, name)
        for name in ("momentum", "other_momentum"):
            _check_momentum(getattr(self, name), name)

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimiser over this model's weights."""
        rates = zip(convolutional_kinds(model), (self.lr, self.head_lr, self.bias_lr), strict=True)
        groups = [
            {
                "params": weights,
                "lr": rate,
                "lr_factor": rate / self.lr,
                "momentum": self.other_momentum if place else self.momentum,
                "orthogonal": not place,
                "shrink": self.weight_decay / rate if place else 0.0,
            }
            for place, (weights, rate) in enumerate(rates)
            if weights
        ]
        return Muon(groups)


@dataclass(frozen=True, kw_only=True)
class AdamWConfig:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    lr: float
    """The highest learning rate of the schedule."""
    weight_decay: float = 0.05
    """Decay of weights per step, times the learning rate; norms and biases have none."""
    beta2: float = 0.999

    def __post_init__(self) -> None:
        _check_rates(self.lr, self.weight_decay)
        if not 0.0 < self.beta2 < 1.0:
            raise ValueError(f"beta2 must lie in (0, 1), got {self.beta2}")

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimiser over this model's weights, fused into one kernel call per group."""
        groups = weight_groups(model, self.weight_decay)
        return torch.optim.AdamW(groups, lr=self.lr, betas=(0.9, self.beta2), fused=True)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """The learning rate over the full budget of a trial, as a share of the highest rate; it changes with every
    batch."""

    kind: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    """one_cycle: linear down after the warm-up (Smith 2018); cosine: half a cosine down; constant: no decay."""
    warmup: float = 0.2
    """Share of the budget in which the rate rises linearly."""

    def __post_init__(self) -> None:
        if self.kind not in ("one_cycle", "cosine", "constant"):
            raise ValueError(f"kind must be one of one_cycle, cosine, constant, got {self.kind!r}")
        if not 0.0 <= self.warmup < 1.0:
            raise ValueError(f"warmup must lie in [0, 1), got {self.warmup}")

    def factor(self, step: int, num_steps: int) -> float:
        """The factor of the highest learning rate in this step.

        Args:
            step: from 0 to num_steps - 1.
            num_steps: steps of the full budget.

        Returns:
            A value in (0, 1]; 1 at the end of the warm-up, and close to 0 in the last step unless constant.
        """
        warmup_steps = round(self.warmup * num_steps)
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        done = (step - warmup_steps) / max(1, num_steps - warmup_steps)
        match self.kind:
            case "one_cycle":
                return 1.0 - done
            case "cosine":
                return 0.5 * (1.0 + math.cos(math.pi * done))
            case "constant":
                return 1.0


def weight_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Parameter groups for an optimiser: matrices and kernels decay, vectors (norms and biases) do not.

    Fixed weights are left out, a frozen backbone among them; a tuned one has groups of its own, with `lr_factor`.
    """
    if isinstance(model, Pretrained):
        tuned = [] if model.frozen else weight_groups(model.body, weight_decay)
        return [*weight_groups(model.head, weight_decay), *({**group, "lr_factor": model.lr_factor} for group in tuned)]
    learnt = [weight for weight in model.parameters() if weight.requires_grad]
    decayed = [weight for weight in learnt if weight.ndim > 1]
    others = [weight for weight in learnt if weight.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def convolutional_kinds(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """The learnt weights of an image network: filters of convolutions, all weights of matrices, and other vectors."""
    learnt = [weight for weight in model.parameters() if weight.requires_grad]
    of_head = {id(w) for layer in model.modules() if isinstance(layer, nn.Linear) for w in layer.parameters()}
    filters = [weight for weight in learnt if weight.ndim > 1 and id(weight) not in of_head]
    vectors = [weight for weight in learnt if weight.ndim <= 1 and id(weight) not in of_head]
    return filters, [weight for weight in learnt if id(weight) in of_head], vectors


def keep_rate_on_device(optimizer: torch.optim.Optimizer) -> None:
    """Make the learning rate of weights on a GPU a tensor there, so that a recorded step reads its current value.

    Loading a state undoes this, so call it again afterwards.
    """
    for group in optimizer.param_groups:
        if group["params"][0].is_cuda:
            group["lr"] = torch.zeros((), device=group["params"][0].device)
            if "capturable" in group:
                group["capturable"] = True


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of all weights, and its fraction for a tuned backbone, without waiting for their device."""
    for group in optimizer.param_groups:
        own = lr * group.get("lr_factor", 1.0)
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(own)
        else:
            group["lr"] = own


def _check_momentum(momentum: float, name: str = "momentum") -> None:
    if not 0.0 < momentum < 1.0:
        raise ValueError(f"{name} must lie in (0, 1), got {momentum}")


def _check_rates(lr: float, weight_decay: float, name: str = "lr") -> None:
    if not (lr > 0.0 and math.isfinite(lr)):
        raise ValueError(f"{name} must be positive and finite, got {lr}")
    if not (weight_decay >= 0.0 and math.isfinite(weight_decay)):
        raise ValueError(f"weight_decay must be at least 0 and finite, got {weight_decay}")
