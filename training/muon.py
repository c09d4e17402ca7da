"""Muon (Jordan et al., 2024): momentum whose directions all count alike. torch's own is for 2-D weights only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
COEFFICIENTS, ITERATIONS = (3.4445, -4.7750, 2.0315), 5
"""Jordan's quintic: after five times all singular values from 0.01 to 1 are between 0.7 and 1.2"""
RMS = 0.2
"""of an update in learning rates: about that of AdamW, so that both may have the same rate (Liu et al., 2025)"""


class Muon(torch.optim.Optimizer):
    """Steps of orthogonalised Nesterov momentum. A weight is a matrix here: its first dimension by all others."""

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        super().__init__(groups, {"lr": 1e-3})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step by the gradients that there are."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum: Tensor = state["momentum"]
                momentum.lerp_(weight.grad, 1 - MOMENTUM)
                direction = weight.grad.lerp(momentum, MOMENTUM).flatten(1)
                size = RMS * max(direction.shape) ** 0.5
                weight.sub_(orthogonal(direction).view(weight.shape), alpha=group["lr"] * size)


def orthogonal(matrix: Tensor) -> Tensor:
    """Nearly U V' of a matrix U S V', [n, m], by Newton and Schulz's iteration in bfloat16."""
    tall = matrix.shape[0] > matrix.shape[1]
    found = (matrix.T if tall else matrix).bfloat16().contiguous()
    found = found / found.norm().clamp(min=1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = found @ found.T
        found = torch.addmm(found, torch.addmm(gram, gram, gram, beta=b, alpha=c), found, beta=a)
    return (found.T if tall else found).to(matrix.dtype)
