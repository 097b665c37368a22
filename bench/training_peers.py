"""One peer, one shape, a few training steps: run by bench/training.py in the interpreter that has the peer installed.

    PYTHON bench/training_peers.py WHO --shape LAYERS WIDTH CONTEXT TOKENS VOCAB --steps N --precision P [--compile] [--source DIR]

WHO: nanogpt and nanochat (a checkout each, --source), hf (transformers, accelerate), litgpt (litgpt, lightning).
Each runs its own model, loss, optimizer and way of stepping, with our batches; prints the seconds of every step as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch


def batches(args: argparse.Namespace) -> Iterator[torch.Tensor]:
    _, _, context, tokens, vocab = args.shape
    for step in range(args.steps + 1):
        generator = torch.Generator().manual_seed(step)
        yield torch.randint(0, vocab, (tokens // context, context + 1), generator=generator)


def autocast(args: argparse.Namespace) -> contextlib.AbstractContextManager:
    if args.precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast("cpu", dtype=getattr(torch, args.precision))


def nanogpt(args: argparse.Namespace) -> list[float]:
    """train.py: whole model compiled, AdamW, clipping at 1."""
    sys.path.insert(0, str(args.source))
    from model import GPT, GPTConfig

    layers, width, context, _, vocab = args.shape
    model = GPT(GPTConfig(block_size=context, vocab_size=vocab, n_layer=layers, n_head=width // 64, n_embd=width,
                          dropout=0.0, bias=False))  # fmt: skip
    optimizer = model.configure_optimizers(0.1, 1e-3, (0.9, 0.95), "cpu")
    call = torch.compile(model) if args.compile else model
    seconds = []
    for ids in batches(args):
        began = time.perf_counter()
        with autocast(args):
            _, loss = call(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - began)
    return seconds


def nanochat(args: argparse.Namespace) -> list[float]:
    """scripts/base_train.py: whole model compiled, Muon and AdamW, its own dtype rule; full attention in every layer."""
    os.environ["NANOCHAT_DTYPE"] = args.precision
    sys.path.insert(0, str(args.source))
    from nanochat.gpt import GPT, GPTConfig

    layers, width, context, _, vocab = args.shape
    heads = width // 64
    model = GPT(GPTConfig(sequence_len=context, vocab_size=vocab, n_layer=layers, n_head=heads, n_kv_head=heads,
                          n_embd=width, window_pattern="L"))  # fmt: skip
    model.init_weights()
    optimizer = model.setup_optimizer()
    call = torch.compile(model, dynamic=False) if args.compile else model
    seconds = []
    for ids in batches(args):
        began = time.perf_counter()
        call(ids[:, :-1].contiguous(), ids[:, 1:].contiguous()).backward()
        optimizer.step()
        model.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - began)
    return seconds


def hf(args: argparse.Namespace) -> list[float]:
    """transformers.Trainer with a Llama of the shape; the time between its step-end events."""
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

    layers, width, context, tokens, vocab = args.shape
    config = LlamaConfig(vocab_size=vocab, hidden_size=width, intermediate_size=-(-width * 8 // 3 // 64) * 64,
                         num_hidden_layers=layers, num_attention_heads=width // 64, max_position_embeddings=context,
                         tie_word_embeddings=True)  # fmt: skip
    rows = [{"input_ids": row[:-1], "labels": row[:-1]} for ids in batches(args) for row in ids]
    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *unused: object, **more: object) -> None:
            if not ends:
                ends.append(time.perf_counter())

        def on_step_end(self, *unused: object, **more: object) -> None:
            ends.append(time.perf_counter())

    half = args.precision == "bfloat16"
    options = TrainingArguments(
        output_dir=str(args.scratch), max_steps=args.steps + 1, per_device_train_batch_size=tokens // context, bf16=half,
        use_cpu=True, report_to=[], save_strategy="no", logging_strategy="no", torch_compile=args.compile, disable_tqdm=True,
        dataloader_pin_memory=False,
    )  # fmt: skip
    Trainer(LlamaForCausalLM(config), options, train_dataset=rows, callbacks=[Clock()]).train()
    return [b - a for a, b in itertools.pairwise(ends)]


def litgpt(args: argparse.Namespace) -> list[float]:
    """litgpt/pretrain.py: Fabric, compiled model, AdamW, chunked loss, clipping at 1."""
    from lightning.fabric import Fabric
    from litgpt.config import Config
    from litgpt.model import GPT
    from litgpt.utils import chunked_cross_entropy

    layers, width, context, _, vocab = args.shape
    fabric = Fabric(
        accelerator="cpu", devices=1, precision="32-true" if args.precision == "float32" else "bf16-mixed"
    )
    config = Config(
        name="shape", block_size=context, vocab_size=vocab, padded_vocab_size=vocab, n_layer=layers, n_head=width // 64,
        n_embd=width, rotary_percentage=1.0, parallel_residual=False, bias=False, norm_class_name="RMSNorm",
        mlp_class_name="LLaMAMLP", intermediate_size=-(-width * 8 // 3 // 64) * 64,
    )  # fmt: skip
    model = GPT(config)
    plain = model
    if args.compile:
        model = torch.compile(model)
    model = fabric.setup(model)
    optimizer = fabric.setup_optimizers(
        torch.optim.AdamW(plain.parameters(), lr=1e-3, weight_decay=0.1, betas=(0.9, 0.95))
    )
    seconds = []
    for ids in batches(args):
        began = time.perf_counter()
        loss = chunked_cross_entropy(model(ids[:, :-1].contiguous()), ids[:, 1:].contiguous())
        fabric.backward(loss)
        fabric.clip_gradients(model, optimizer, max_norm=1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - began)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("who", choices=("nanogpt", "nanochat", "hf", "litgpt"))
    parser.add_argument("--shape", type=int, nargs=5, required=True)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--source", type=Path)
    parser.add_argument("--scratch", type=Path, default=Path("out/bench"))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(
        json.dumps({"seconds": [round(s, 4) for s in globals()[args.who](args)], "torch": torch.__version__})
    )


if __name__ == "__main__":
    main()
