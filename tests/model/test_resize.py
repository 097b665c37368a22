from __future__ import annotations

import pytest
import torch

from ownlm.errors import UsageError
from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.model.resize import resize_decoder, resize_embeddings


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("pad", [0, 3])
def test_old_logits_stay_and_new_ones_are_the_mean(tied: bool, pad: bool) -> None:
    config = ModelConfig(vocab_size=20 + pad, hidden_size=16, intermediate_size=24, num_layers=2, num_heads=2,
                         num_kv_heads=1, head_dim=8, max_positions=32, tie_embeddings=tied)  # fmt: skip
    model = Decoder(config, seed=3)
    new_tokens = [(1, 2), (5,), (0, 7, 7, 19)]
    grown = resize_decoder(model, 20, new_tokens)
    ids = torch.randint(0, 20, (2, 9), generator=torch.Generator().manual_seed(0))
    before, after = model(ids), grown(ids)
    assert after.shape == (2, 9, 23)
    torch.testing.assert_close(after[..., :20], before[..., :20], rtol=0, atol=1e-6)
    for n, pieces in enumerate(new_tokens):  # linear: the mean of rows gives the mean of logits
        torch.testing.assert_close(after[..., 20 + n], before[..., list(pieces)].mean(-1), rtol=0, atol=1e-6)
    assert model.embedding.weight.shape[0] == 20 + pad
    assert torch.isfinite(grown(torch.tensor([[20, 21, 22]]))).all()


def test_rows() -> None:
    weight = torch.arange(12.0).reshape(4, 3).to(torch.bfloat16)
    grown = resize_embeddings(weight, 3, [(0, 2)])
    assert (
        grown.dtype == torch.bfloat16
        and grown.tolist()[3] == [3, 4, 5]
        and torch.equal(grown[:3], weight[:3])
    )
    for old, new in ((5, []), (0, []), (3, [()]), (3, [(3,)]), (3, [(-1,)])):
        with pytest.raises(UsageError):
            resize_embeddings(weight, old, new)
