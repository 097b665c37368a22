"""AdamW whose two moments are bytes between the steps: 2 bytes a weight instead of 8.

step: bytes -> float32 -> AdamW's update -> bytes        see blockwise.py for the bytes
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ownlm.errors import UsageError
from ownlm.train.optimizers import blockwise
from ownlm.train.optimizers.optimizer import Named, Optimizer


class Adam8bit(Optimizer):
    """Dettmers et al. 2022, arXiv:2110.02861, with the decoupled decay of AdamW. Remembers 2.03 bytes a weight.

    The update uses the moments of this step before they are rounded, as the paper does. Weights of fewer than
    `smallest` entries (norms, biases) keep float32 moments, 8 bytes a weight. One weight at a time is unpacked, so the
    peak is 8 bytes an entry of the largest weight above the rest.
    """

    def __init__(self, parameters: Named, betas: tuple[float, float] = (0.9, 0.95), eps: float = 1e-8,
                 weight_decay: float = 0.1, smallest: int = 4096) -> None:  # fmt: skip
        self.betas, self.eps, self.weight_decay, self.smallest = betas, eps, weight_decay, smallest
        super().__init__(parameters)

    def slots_of(self, weight: nn.Parameter) -> dict[str, Tensor]:
        if type(weight.data) is not Tensor:
            raise UsageError(
                "8-bit Adam works on whole weights, not on shards.",
                f"{type(weight.data).__name__} of shape {tuple(weight.shape)}",
                "use adamw or lion where the weights are sharded",
            )
        if weight.numel() < self.smallest:
            return {"mean": torch.zeros_like(weight), "square": torch.zeros_like(weight)}
        blocks, on = blockwise.num_blocks(weight.numel()), weight.device
        return {
            "mean": torch.full((blocks, blockwise.BLOCK), 127, dtype=torch.uint8, device=on),  # 127: zero
            "mean_scale": torch.zeros((blocks, 1), device=on),
            "square": torch.zeros((blocks, blockwise.BLOCK), dtype=torch.uint8, device=on),
            "square_scale": torch.zeros((blocks, 1), device=on),
        }

    def update(
        self, weight: Tensor, gradient: Tensor, slots: dict[str, Tensor], learning_rate: float
    ) -> None:
        beta1, beta2 = self.betas
        packed = "mean_scale" in slots
        mean, square = slots["mean"], slots["square"]
        if packed:
            mean = blockwise.dequantize(mean, slots["mean_scale"], True, weight.numel()).view_as(weight)
            square = blockwise.dequantize(square, slots["square_scale"], False, weight.numel()).view_as(weight)  # fmt: skip
        mean.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        denominator = square.sqrt().div_((1 - beta2**self.num_updates) ** 0.5).add_(self.eps)
        weight.mul_(1 - learning_rate * self.weight_decay)
        weight.addcdiv_(mean, denominator, value=-learning_rate / (1 - beta1**self.num_updates))
        if packed:
            for name, value, signed in (("mean", mean, True), ("square", square, False)):
                codes, scales = blockwise.quantize(value.reshape(-1), signed)
                slots[name].copy_(codes)
                slots[f"{name}_scale"].copy_(scales)
