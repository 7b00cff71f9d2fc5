"""A GRU across time whose way back takes two matrix products, for training on a CPU.

PyTorch's own on a CPU adds up the gradients of the weights step by step; here they wait for one
product over all steps. On other devices, in mixed precision, and without gradients, PyTorch's own
runs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class TimeGRU(nn.GRU):
    """nn.GRU of one layer and direction, its state without a dimension for layers."""

    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__(features, hidden)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """x [T, rows, features], state [rows, hidden] -> [T, rows, hidden] and the last of it."""
        if (x.device.type != "cpu" or not torch.is_grad_enabled()
                or torch.is_autocast_enabled(x.device.type)):
            out, last = super().forward(x, state[None])
            return out, last.squeeze(0)
        h = self.hidden_size
        weight, bias = self.weight_ih_l0, self.bias_ih_l0
        gates = nn.functional.linear(x, weight[:2 * h], bias[:2 * h] + self.bias_hh_l0[:2 * h])
        new = nn.functional.linear(x, weight[2 * h:], bias[2 * h:])
        out = _Recurrence.apply(gates, new, state, self.weight_hh_l0, self.bias_hh_l0[2 * h:])
        return out, out[-1]


class _Recurrence(torch.autograd.Function):
    """The part of a GRU that depends on the step before (Cho et al., arXiv 1406.1078, in
    PyTorch's form, with the reset gate after the product)."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, new: Tensor, state: Tensor, weight: Tensor,
                bias: Tensor) -> Tensor:
        """gates [steps, rows, 2 hidden], reset and update, new [steps, rows, hidden]: what the
        input adds to them; overwritten by their values."""
        steps, rows, hidden = new.shape
        out = new.new_empty(steps + 1, rows, hidden)  # beginning with the state
        out[0] = state
        recalled = torch.empty_like(new)  # what the reset gate lets through or not
        weight_gates, weight_new = weight[:2 * hidden].t(), weight[2 * hidden:].t()
        for before, after, gate, n, old in zip(out[:-1].unbind(), out[1:].unbind(),
                                               gates.unbind(), new.unbind(), recalled.unbind(),
                                               strict=True):
            gate.addmm_(before, weight_gates).sigmoid_()
            torch.addmm(bias, before, weight_new, out=old)
            # tanh, by the faster sigmoid
            n.addcmul_(gate[:, :hidden], old).mul_(2).sigmoid_().mul_(2).sub_(1)
            torch.lerp(n, before, gate[:, hidden:], out=after)
        ctx.save_for_backward(out, gates, new, recalled, weight)
        return out[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        out, gates, new, recalled, weight = ctx.saved_tensors
        steps, rows, hidden = new.shape
        into = out.new_empty(steps, rows, 3 * hidden)  # gradients of what weight @ state adds to
        into_new = torch.empty_like(new)
        carried = torch.zeros_like(out[0])
        for g, before, gate, n, old, product, dn in reversed(list(zip(
                gradient.unbind(), out[:-1].unbind(), gates.unbind(), new.unbind(),
                recalled.unbind(), into.unbind(), into_new.unbind(), strict=True))):
            carried = carried + g
            update = gate[:, hidden:]
            kept = carried * update
            # through tanh: 1 - n^2
            torch.sub(carried, kept, out=dn)
            dn -= (dn * n).mul_(n)
            slopes = torch.addcmul(gate, gate, gate, value=-1)  # through the sigmoids
            torch.mul(dn, old, out=product[:, :hidden])
            torch.mul(carried, before - n, out=product[:, hidden:2 * hidden])
            product[:, :2 * hidden] *= slopes
            torch.mul(dn, gate[:, :hidden], out=product[:, 2 * hidden:])
            carried = torch.addmm(kept, product, weight)
        flat = into.flatten(0, 1)
        return (into[..., :2 * hidden], into_new, carried, flat.t() @ out[:-1].flatten(0, 1),
                flat[:, 2 * hidden:].sum(0))
