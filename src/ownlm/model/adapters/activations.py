"""Names of activations in config.json and ours. transformers' "gelu_new" is the tanh approximation."""

from __future__ import annotations

from ownlm.errors import ArtifactError

OURS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "relu2": "relu2",
    "silu": "silu",
    "swish": "silu",
}
THEIRS = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu", "relu2": "relu2", "silu": "silu"}


def ours(name: object, where: str) -> str:
    """Our name of a foreign activation; raises ArtifactError for one that is not known."""
    if not isinstance(name, str) or name not in OURS:
        raise ArtifactError("The model has an activation that ownlm does not support.", f"{where}: {name!r}",
                            f"supported: {', '.join(OURS)}")  # fmt: skip
    return OURS[name]
