"""The parts of a run: what is trained, for what, on which batches, by how many processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from ownlm.data.shards import Shards
from ownlm.errors import UsageError
from ownlm.model.adapters import hf
from ownlm.model.config import ModelConfig
from ownlm.pipeline.pretraining.inputs import Inputs
from ownlm.pipeline.pretraining.settings import PretrainSettings
from ownlm.train.batches import BatchAt
from ownlm.train.objectives import table
from ownlm.train.objectives.causal import Objective
from ownlm.train.objectives.specials import Specials
from ownlm.train.objectives.table import Text

NUM_SENTINELS = 100  # as T5 has
_COUNTS = {"sentinels": NUM_SENTINELS, "modes": 3}
_OWN = {"bos": "<|bos|>", "end": "<|end|>", "pad": "<|pad|>"}


@dataclass(frozen=True, slots=True)
class Learning:
    """An objective with the special tokens it needs: those the tokenizer has, and new ids behind its vocabulary."""

    entry: table.Entry
    objective: Objective
    specials: Specials
    vocab_size: int  # of the model

    def model(self, config: Any, seed: int) -> nn.Module:
        """A ModelConfig is built as the objective wants it; another architecture as it is."""
        if isinstance(config, ModelConfig):
            return self.entry.model(config, self.specials, seed)
        model: nn.Module = hf.family_of(config).build(config)
        model.initialize(seed)  # type: ignore[operator]
        return model

    def batches(self, shards: Shards, context: int, batch_size: int, seed: int) -> BatchAt:
        text = Text(shards.tokens, shards.document_starts, context, batch_size, seed, self.vocab_size)
        return self.entry.batches(text, self.specials)


def learning(settings: PretrainSettings, inputs: Inputs) -> Learning:
    """Raises UsageError for an objective or an option that there is not."""
    entry = table.find(settings.objective)
    ids: dict[str, tuple[int, ...]] = {
        role: (inputs.tokenizer.special_id(name),) for role, name in _OWN.items()
    }
    vocab = inputs.train.info.vocab_size
    for role in entry.roles:
        if role == "stops":
            ids[role] = tuple(inputs.tokenizer.encode(".")[-1:])
        elif role not in ids:
            ids[role] = tuple(range(vocab, vocab + _COUNTS.get(role, 1)))
            vocab += len(ids[role])
    options = {
        name: value
        for name in ("label_smoothing", "z_loss")
        if (value := getattr(settings, name)) is not None
    }
    try:
        return Learning(entry, entry.objective(**options), Specials(ids), vocab)
    except TypeError as error:
        raise UsageError("The objective has no such option.", f"{settings.objective}: {', '.join(options)}",
                         "leave it out: it belongs to causal objectives") from error  # fmt: skip


def sizes(text: str) -> dict[str, int]:
    """dp=2,tp=2 -> {"dp": 2, "tp": 2}; raises UsageError for anything else."""
    found = {}
    for part in filter(None, text.replace(" ", "").split(",")):
        name, _, value = part.partition("=")
        if not value.isdigit():
            raise UsageError("These are no sizes of a layout.", repr(text), "write sizes='dp=2,tp=2'")
        found[name] = int(value)
    return found
