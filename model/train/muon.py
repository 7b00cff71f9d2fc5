"""Muon for the matrices inside a network, AdamW for the rest of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.adamw import adamw

MOMENTUM, BETAS, EPS = 0.95, (0.9, 0.999), 1e-8


class Muon(Optimizer):
    """Steps along the orthogonalised momentum of a matrix (Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon/), sized like a step of Adam's (Liu et al., arXiv
    2502.16982, section 2.2), so that one learning rate does for both.

    Matrices of their own are those of the streaming network's layers, every gate of its GRUs, and
    every band's first one in the mask heads. Biases, gains and what meets the spectrum are left
    to AdamW, as is all of any other network.
    """

    def __init__(self, network: nn.Module, lr: float, weight_decay: float) -> None:
        gates, matrices, rest = [], [], []
        for name, parameter in network.named_parameters():
            inside = name.startswith("layers.") and parameter.dim() == 2
            if inside and ".time.weight_" in name:
                gates.append(parameter)
            elif inside or name == "heads.inner":
                matrices.append(parameter)
            else:
                rest.append(parameter)
        # `stacked`: how many matrices a parameter's rows hold; 0: not for Muon
        groups = [{"params": gates, "stacked": 3}, {"params": matrices, "stacked": 1},
                  {"params": rest, "stacked": 0}]
        super().__init__([group for group in groups if group["params"]],
                         {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if group["stacked"]:
                for parameter in parameters:
                    self._turn(parameter, group)
            else:
                self._adam(parameters, group)
        return loss

    def _turn(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        matrices = gradient.lerp(momentum, MOMENTUM)  # Nesterov's
        if parameter.dim() == 2:
            matrices = matrices.unflatten(0, (group["stacked"], -1))
        size = 0.2 * max(matrices.shape[-2:]) ** 0.5
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(orthogonal(matrices).reshape(parameter.shape), alpha=-group["lr"] * size)

    def _adam(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter].update(
                    mean=torch.zeros_like(parameter), square=torch.zeros_like(parameter),
                    steps=torch.zeros(()))
        states = [self.state[parameter] for parameter in parameters]
        adamw(parameters, [p.grad for p in parameters if p.grad is not None],
              [s["mean"] for s in states], [s["square"] for s in states], [],
              [s["steps"] for s in states], amsgrad=False, beta1=BETAS[0], beta2=BETAS[1],
              lr=group["lr"], weight_decay=group["weight_decay"], eps=EPS, maximize=False)


def orthogonal(matrices: Tensor) -> Tensor:
    """About the nearest matrices [..., rows, columns] whose shorter sides are orthonormal: five
    steps of Jordan's Newton-Schulz iteration, which leave singular values between 0.7 and 1.2."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-12)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.mT if tall else x
