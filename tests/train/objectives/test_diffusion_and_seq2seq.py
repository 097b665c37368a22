"""Masked diffusion against the bound's own functions; sources to targets against the plain sum."""

import pytest
import torch
import torch.nn.functional as F

from ownlm.errors import DataError, UsageError
from ownlm.model.diffusion_lm import DiffusionLM, diffusion
from ownlm.model.diffusion_loss import Schedule, elbo_loss, exact_count_loss
from ownlm.model.encoder_decoder import EncoderDecoder
from ownlm.model.t5 import t5
from ownlm.runtime.seed import derive
from ownlm.train.batches import Batch
from ownlm.train.corruption.noising import NoisedBatches
from ownlm.train.objectives.cross_entropy import IGNORE
from ownlm.train.objectives.diffusion import Diffusion
from ownlm.train.objectives.seq2seq import SourceToTarget, shifted

MODEL = DiffusionLM(diffusion(64, 32, 1, 2, 48, 32), seed=1)
IDS = torch.randint(64, (6, 20), generator=torch.Generator().manual_seed(0))


def noised(**options):
    return NoisedBatches(lambda step: Batch(IDS, IDS), mask_id=64, seed=9, **options)


@pytest.mark.parametrize("kind", [None, "linear", "cosine", "geometric"])
@pytest.mark.parametrize("step", [0, 7])
def test_the_bound_is_that_of_the_model_room(kind, step):
    """Drawn in the same order from the same seed, so equal number for number."""
    options = {} if kind is None else {"drawing": "times", "schedule": Schedule(kind)}
    batch = noised(**options)(step)
    trained = int((batch.targets != IGNORE).sum())
    random = torch.Generator().manual_seed(derive(9, "noise", step))
    wanted = (
        exact_count_loss(MODEL, IDS, random)
        if kind is None
        else elbo_loss(MODEL, IDS, random, Schedule(kind))
    )
    torch.testing.assert_close(Diffusion()(MODEL, batch, trained), wanted)
    standing = batch.targets == IGNORE
    assert torch.equal(batch.inputs[standing], IDS[standing]) and (batch.inputs[~standing] == 64).all()
    assert torch.equal(batch.targets[~standing], IDS[~standing])
    assert not torch.equal(noised(**options)(step + 1).inputs, batch.inputs)


def test_both_drawings_estimate_one_number():
    """Of a model that finds every token equally likely the bound is log V, whatever is drawn: on average."""
    blind = DiffusionLM(diffusion(64, 32, 1, 2, 48, 32), seed=1)
    with torch.no_grad():
        blind.output.weight.zero_()
        for options, tolerance in (({}, 1e-4), ({"drawing": "times"}, 0.1)):
            found = []
            for step in range(150):
                batch = noised(**options)(step)
                found.append(float(Diffusion()(blind, batch, int((batch.targets != IGNORE).sum()))))
            assert sum(found) / 150 == pytest.approx(torch.tensor(64.0).log().item(), rel=tolerance)


def test_what_cannot_be_is_refused():
    with pytest.raises(DataError, match="holds the mask"):
        NoisedBatches(lambda step: Batch(IDS, IDS), mask_id=int(IDS[0, 0]), seed=0)(0)
    with pytest.raises(UsageError, match="drawing"):
        noised(drawing="count")
    with pytest.raises(UsageError, match="drawing"):
        noised(schedule=Schedule())


def test_the_decoder_reads_the_target_moved_by_one():
    targets = torch.tensor([[5, 6, 1, IGNORE, IGNORE]])
    assert shifted(targets, 9, 0).tolist() == [[9, 5, 6, 1, 0]]


def test_a_source_is_read_up_to_its_padding_and_the_targets_summed():
    model = EncoderDecoder(t5(64, 32, 1, 2, 48, head_dim=16), seed=2)
    source, targets = IDS[:2, :8].clone(), IDS[2:4, :5].clone()
    targets[1, 3:] = IGNORE
    mask = torch.ones(2, 8, dtype=torch.bool)
    mask[0, 6:] = False
    loss = SourceToTarget()(model, Batch(source, targets, {"mask": mask}), 8)
    source[0, 6:] = 63
    torch.testing.assert_close(SourceToTarget()(model, Batch(source, targets, {"mask": mask}), 8), loss)
    rows = [(source[:1, :6], targets[:1]), (source[1:], targets[1:, :3])]
    total = 0.0
    for shown, asked in rows:
        read = torch.cat((torch.zeros(1, 1, dtype=torch.int64), asked[:, :-1]), dim=1)
        total = total + F.cross_entropy(model(shown, read)[0], asked[0], reduction="sum")
    torch.testing.assert_close(loss, total / 8)
