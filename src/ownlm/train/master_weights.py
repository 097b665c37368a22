"""Weights in 16 bits, with the float32 copy that the optimizer works on.

    forward, backward      w16                2 bytes a parameter, and no cast at every step
    gradient               float32            pieces of a step add up without loss
    update                 w32 <- w32 - ...   then w16 = round(w32)

A bfloat16 number near 1 cannot change by less than 0.4 %: a learning rate of 1e-3 would change nothing. In the copy
small updates add up until they show (Micikevicius et al. 2018, arXiv:1710.03740, section 3.1).
The model then is a 16-bit model, also outside training; the copy is a Part of the checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ownlm.train.optimizers.optimizer import copy_all


class MasterWeights:
    """Made after the optimizers, which keep the float32 parameters; the model gets 16-bit ones under the same names."""

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        self.masters = dict(model.named_parameters())  # name -> the float32 parameter
        self.narrow: dict[str, nn.Parameter] = {}
        replaced: dict[nn.Parameter, nn.Parameter] = {}
        for name, master in self.masters.items():
            made = nn.Parameter(master.detach().to(dtype), requires_grad=master.requires_grad)
            made.grad_dtype = torch.float32
            self.narrow[name] = replaced[master] = made
        for module in model.modules():  # a parameter in two places stays one parameter
            for name, held in module._parameters.items():
                if held is not None:
                    module._parameters[name] = replaced[held]

    def before_update(self) -> None:
        """Hand the gradients over."""
        for name, master in self.masters.items():
            master.grad = self.narrow[name].grad

    @torch.no_grad()
    def after_update(self) -> None:
        """Round the new weights into the model."""
        for name, master in self.masters.items():
            self.narrow[name].copy_(master)
            master.grad = None

    def state(self) -> dict[str, Tensor]:
        return {name: master.detach() for name, master in self.masters.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Raises ArtifactError when the copy is of another model."""
        copy_all(self.masters, state)
