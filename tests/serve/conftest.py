"""Makes `standin` importable, and a server with the scripted generator ready."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import standin


@pytest.fixture
def live(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A running server: `url`, `app`, `script` (the generator), `feedback` (the file), `client` (openai)."""
    import openai

    feedback = tmp_path / "deep" / "feedback.jsonl"
    app, script = standin.make_app(feedback_path=feedback)
    with standin.served(app) as url:
        client = openai.OpenAI(
            base_url=url + "/v1", api_key="none", max_retries=0, timeout=20, http_client=standin.HTTP
        )
        yield SimpleNamespace(url=url, app=app, script=script, feedback=feedback, client=client)
