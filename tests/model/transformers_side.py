"""What transformers makes of a model folder; also run as a script, under another transformers version.

python transformers_side.py FOLDER DUMP.json
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch


def answers(folder: str) -> dict[str, Any]:
    """Logits of two random texts and 50 greedy tokens after the start of the first."""
    from transformers import AutoModelForCausalLM, __version__

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.randint(0, 320, (2, 60), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model(ids).logits
        tokens = model.generate(ids[:1, :9], max_new_tokens=50, do_sample=False)[0, 9:]
    return {"version": __version__, "logits": logits.tolist(), "tokens": tokens.tolist()}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(answers(sys.argv[1])))
