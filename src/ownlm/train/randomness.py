"""The state of every random generator that a training step could draw from, as tensors.

Batches and objectives of ownlm draw from seeds derived from the step; these are kept for the rest: dropout, and what a
caller's own code draws between the steps from torch, NumPy's or Python's global generator.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ownlm.errors import ArtifactError

NAMES = ("torch_rng", "numpy_rng", "python_rng")
CUDA = "cuda_rng"
_WORDS = 624  # of a Mersenne Twister


def state(device: torch.device) -> dict[str, Tensor]:
    """torch_rng uint8 [5056]; numpy_rng and python_rng float64 [627]: 624 words, the position in them, whether a second
    normal number is waiting, that number; on a GPU also cuda_rng uint8. A float64 holds each 32-bit word exactly."""
    twister = np.random.get_state(legacy=False)
    inner = twister["state"]
    numpy_rng = torch.tensor(
        [*inner["key"].tolist(), inner["pos"], twister["has_gauss"], twister["gauss"]], dtype=torch.float64
    )
    _, state_words, normal = random.getstate()
    python_rng = torch.tensor([*state_words, normal is not None, normal or 0.0], dtype=torch.float64)
    found = {"torch_rng": torch.get_rng_state(), "numpy_rng": numpy_rng, "python_rng": python_rng}
    return found | ({CUDA: torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def load(saved: Mapping[str, Tensor], device: torch.device) -> None:
    """Set every generator back. A run that moved to another kind of device keeps that device's own.

    Raises ArtifactError when a state is missing or malformed.
    """
    for name in NAMES:
        length = len(torch.get_rng_state()) if name == "torch_rng" else _WORDS + 3
        if name not in saved or saved[name].shape != (length,):
            raise ArtifactError("The checkpoint is incomplete.", f"no usable {name}", _FIX)
    torch.set_rng_state(saved["torch_rng"])
    *words, position, waiting, second = saved["numpy_rng"].tolist()
    np.random.set_state(("MT19937", np.array(words, dtype=np.uint32), int(position), int(waiting), second))
    *words, position, waiting, second = saved["python_rng"].tolist()
    random.setstate((3, tuple(map(int, [*words, position])), second if waiting else None))
    if device.type == "cuda" and CUDA in saved:
        torch.cuda.set_rng_state(saved[CUDA], device)


_FIX = "remove the checkpoints folder to start afresh"
