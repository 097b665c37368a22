"""Hunt a NaN: plant one, see it named by step, layer and operation, and see the run recover.

    python recipes/nan_hunt.py                           three faults on a tiny model, about a minute
    python recipes/nan_hunt.py --fault weight --at 40

overflow   the feed-forward layer of block 1 divides by zero at one batch: passed over, with the operation's name
weight     an update leaves a NaN in a weight: three batches are passed over, then the run rolls back at half the rate
batch      a batch of one repeated id with random targets: its loss is out of proportion and the data check says why
"""

import argparse
import shutil
from pathlib import Path

import torch

from ownlm.model.config import ModelConfig
from ownlm.model.decoder import Decoder
from ownlm.model.hooks import hooked
from ownlm.train.batches import Batch
from ownlm.train.config import TrainConfig
from ownlm.train.loop import train

VOCAB, CONTEXT, ROWS = 64, 32, 8


def sentence(number: int) -> Batch:
    """Each token is 5 x + 7 of the one before, one in ten is drawn."""
    random = torch.Generator().manual_seed(number)
    rows = torch.randint(VOCAB, (ROWS, CONTEXT + 1), generator=random)
    for t in range(CONTEXT):
        kept = torch.rand(ROWS, generator=random) < 0.1
        rows[:, t + 1] = torch.where(kept, rows[:, t + 1], (rows[:, t] * 5 + 7) % VOCAB)
    return Batch(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())


def run(fault: str, args: argparse.Namespace) -> list[float]:
    """Train with one fault planted; returns the losses of the finished steps."""
    model = Decoder(ModelConfig(VOCAB, 64, 192, 2, 4, 2, 16, CONTEXT), args.seed)
    config = TrainConfig(
        num_steps=args.steps, checkpoint_steps=10, compile=False, gradient_steps=5, seed=args.seed
    )
    inputs = sentence(args.at).inputs
    now: list[torch.Tensor] = []

    def batch_at(number: int) -> Batch:
        batch = sentence(number)
        if fault == "batch" and number == args.at:
            return Batch(torch.full_like(batch.inputs, 3), batch.targets.flip(0))
        return batch

    def divide(x: torch.Tensor) -> torch.Tensor | None:
        return x / (x - x) if fault == "overflow" and torch.equal(now[-1], inputs) else None

    model.embedding.register_forward_pre_hook(lambda module, ids: now.append(ids[0]))
    losses: dict[int, float] = {}
    planted = False
    folder = args.out / fault
    shutil.rmtree(folder, ignore_errors=True)
    with hooked(model, {"blocks.1.feed_forward.down": divide}):
        for record in train(model, batch_at, config, folder, lambda text: print(f"  {text}")):
            losses[record.step] = record.loss
            if fault == "weight" and record.step == args.at and not planted:
                planted = True
                with torch.no_grad():
                    model.blocks[0].mixer.v.weight[1, 1] = float("nan")
    return [losses[step] for step in sorted(losses)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--fault", choices=("overflow", "weight", "batch"))
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument(
        "--at", type=int, default=44, help="number of the bad batch, or step of the bad update"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/nan_hunt"))
    args = parser.parse_args()
    for fault in (args.fault,) if args.fault else ("overflow", "weight", "batch"):
        print(f"{fault}, planted at {args.at}:")
        losses = run(fault, args)
        print(
            f"  loss {losses[0]:.3f} at the start, {losses[args.at - 2]:.3f} before, {losses[-1]:.3f} at the end\n"
        )


if __name__ == "__main__":
    main()
