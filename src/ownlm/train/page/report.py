"""The page as one file: the same drawing, with the data inside. Opens anywhere, asks nobody."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence

from ownlm.train.page import payload
from ownlm.train.page.server import ASSETS, asset
from ownlm.train.runs import Run


def render(runs: Sequence[Run]) -> str:
    """HTML of these runs as they are now. Only the scripts and the style that are in it may run (by their hashes)."""
    facts = {"token": "report", "moments": [payload.moment(run) for run in runs], "runs": [payload.of(run) for run in runs]}  # fmt: skip
    data = json.dumps(facts, allow_nan=False).replace("<", "\\u003c")
    page = asset("page.html")
    hashes: dict[str, list[str]] = {"style": [], "script": []}
    for name in ASSETS:
        text = "\n" + asset(name)
        kind = "style" if name.endswith(".css") else "script"
        tag = (
            f'<link rel="stylesheet" href="{name}">' if kind == "style" else f'<script src="{name}"></script>'
        )
        if page.count(tag) != 1:
            raise RuntimeError(f"page.html names {name} {page.count(tag)} times, not once")
        page = page.replace(tag, f"<{kind}>{text}</{kind}>")
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        hashes[kind].append(f"'sha256-{digest}'")
    policy = (f"default-src 'none'; style-src {' '.join(hashes['style'])}; script-src {' '.join(hashes['script'])}; "
              "img-src data:; base-uri 'none'; form-action 'none'")  # fmt: skip
    head = '<meta charset="utf-8">'
    page = page.replace(head, f'{head}\n<meta http-equiv="Content-Security-Policy" content="{policy}">', 1)
    return page.replace("<body>", f'<body>\n<script type="application/json" id="data">{data}</script>', 1)
