"""Muon: momentum whose step is orthogonalised for every filter bank, and Nesterov SGD for all other weights.

Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; for convolutions and with weights
of constant norm, Jordan 2024, `airbench94_muon`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of a Newton-Schulz step of degree five; they bring small singular values close to 1 in few steps."""
_STEPS = 3


class Muon(torch.optim.Optimizer):
    """Steps for groups with `orthogonal`, whose weights keep their norm, and for groups without.

    A weight of an orthogonal group is a matrix with a row for each channel. It keeps the norm that it has at first, and
    the rate is the norm of a step relative to that of the weight, if all singular values of the step are 1.
    Other weights take a step of Nesterov SGD and then shrink by `shrink` times their rate.
    """

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        """
        Args:
            groups: params, lr, momentum, orthogonal (bool) and shrink of each.
        """
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update all weights that have a gradient; there is no closure."""
        assert closure is None
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._step(weight, weight.grad, group)

    def _step(self, weight: nn.Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["momentum_buffer"], state["norm"] = torch.zeros_like(weight), weight.norm()
        velocity = state["momentum_buffer"].mul_(group["momentum"]).add_(gradient)
        step = gradient.add(velocity, alpha=group["momentum"])
        if group["orthogonal"]:
            weight.mul_(state["norm"] / weight.norm())
            step = orthogonalised(step.flatten(1)).view(step.shape) * (state["norm"] / len(weight) ** 0.5)
        elif group["shrink"]:
            weight.mul_(1.0 - group["shrink"] * group["lr"])
        weight.sub_(step * group["lr"])


def orthogonalised(matrix: Tensor) -> Tensor:
    """A matrix with the singular vectors of this one; its singular values are 0.5 to 1.5, but for small ones.

    Args:
        matrix: (M, N); a matrix of zeros stays so.
    """
    a, b, c = _COEFFICIENTS
    x = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    x = x / (x.norm() + 1e-7)  # the largest singular value is then at most 1
    for _ in range(_STEPS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x if len(matrix) <= matrix.shape[1] else x.T
