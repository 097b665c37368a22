"""The settings of a build. Three choices are the user's (data, size or minutes, where to); None means derived.

A derived value is filled in by the planner before the first stage and stored, with its formula, in DIR/plan.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from ownlm.config import Settings


class DataSettings(Settings):
    paths: tuple[Path, ...] = ()
    """Files and folders of text; empty: the standard library of the running Python."""
    licence: str | None = None
    """SPDX id of your text, when it is not written in the folder; default: found per document, else "unknown"."""
    heldout_fraction: float = Field(0.05, gt=0, lt=0.5)
    """Share of the documents kept out of training, for measuring."""
    recipe: str = "assistant"
    """How the text is curated: a recipe of `ownlm data recipe`, or a pipeline file of your own (its `read` is not used)."""


class TokenizerSettings(Settings):
    vocab_size: int = Field(8192, ge=512, le=262144, multiple_of=64)
    """Tokens in the vocabulary, special tokens included; a multiple of 64."""
    family: Literal["gpt2", "cl100k", "o200k", "llama3", "qwen2"] = "llama3"
    """Pre-tokenizer pattern, by the name llama.cpp and Hugging Face know it."""


class PretrainSettings(Settings):
    steps: int | None = Field(None, ge=1)
    """Optimizer steps; default: what fits the time budget on this machine (`ownlm plan`)."""
    depth: int | None = Field(None, ge=1, le=64)
    """The size dial: number of layers; width and heads follow from it. Default: the planner's."""
    context: int = Field(256, ge=32, le=8192)
    """Tokens per training window."""
    batch_tokens: int = Field(4096, ge=64)
    """Tokens per optimizer step; a multiple of the context."""
    learning_rate: float = Field(0.03, gt=0)
    """Peak rate of Muon, for the hidden matrices."""
    embedding_learning_rate: float = Field(0.01, gt=0)
    """Peak rate of AdamW, for embeddings and norms."""
    word_vectors: bool = True
    """Start the embedding from counted neighbours (train/wordvectors.py) instead of at random."""
    checkpoint_seconds: float = Field(20.0, gt=0)
    """Seconds between checkpoints: the most that a crash or Ctrl-C can cost."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 where the processor has it, float32 elsewhere."""
    compile: bool = True
    """torch.compile each decoder block; without a C++ compiler it runs eagerly and says so."""


class SftSettings(Settings):
    steps: int | None = Field(None, ge=1)
    """Optimizer steps; default: what fits the time budget on this machine."""
    context: int = Field(1024, ge=64, le=8192)
    """Longest conversation in tokens, passages included; also the served context."""
    batch_tokens: int = Field(4096, ge=64)
    """Tokens per optimizer step, padding included."""
    learning_rate: float = Field(0.01, gt=0)
    """Peak rate of Muon."""
    embedding_learning_rate: float = Field(0.003, gt=0)
    """Peak rate of AdamW."""
    questions: int = Field(12000, ge=10)
    """Instruction pairs written from the training documents, at most."""


class RagSettings(Settings):
    passages: int = Field(3, ge=1, le=8)
    """Passages in every prompt."""


class EvalSettings(Settings):
    questions: int = Field(400, ge=1)
    """Grounded questions from held-out documents, at most."""
    unanswerable: int = Field(100, ge=0)
    """Questions that the documents do not answer."""
    baselines: bool = True
    """Measure xz and the 5-gram Kneser-Ney model beside our own."""


class BuildSettings(Settings):
    seed: int = Field(0, ge=0)
    """Every random choice derives from it."""
    minutes: float | None = Field(None, gt=0)
    """Time budget of the whole build; default 8."""
    threads: int | None = Field(None, ge=1)
    """Processor threads for training; default: every core this process may use."""
    data: DataSettings = DataSettings()
    tokenizer: TokenizerSettings = TokenizerSettings()
    pretrain: PretrainSettings = PretrainSettings()
    sft: SftSettings = SftSettings()
    rag: RagSettings = RagSettings()
    eval: EvalSettings = EvalSettings()
