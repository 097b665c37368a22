"""Run the command as a user does, and the settings of the small build."""

import os
import subprocess
import sys

# Small enough for a minute on two cores, large enough that every stage has something to do.
SETTINGS = [
    "tokenizer.vocab_size=1024",
    "pretrain.depth=1",
    "pretrain.steps=24",
    "pretrain.context=128",
    "pretrain.batch_tokens=1024",
    "pretrain.compile=false",
    "pretrain.precision=float32",
    "pretrain.checkpoint_seconds=0.2",
    "sft.steps=12",
    "sft.batch_tokens=2048",
    "eval.questions=24",
    "eval.unanswerable=8",
    "threads=2",
]


def ownlm(*arguments, check=True, environment=None, **options):
    """Run the command as a user does, in a process of its own."""
    variables = {**os.environ, "NO_COLOR": "1", **(environment or {})}
    command = [sys.executable, "-m", "ownlm.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=check, env=variables, **options)
