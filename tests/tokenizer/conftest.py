from __future__ import annotations

import os
from pathlib import Path

import pytest

from ownlm.runtime import native
from ownlm.tokenizer import bpe
from ownlm.tokenizer.tokenizer import Tokenizer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def data() -> Path:
    folder = Path(os.environ.get("OWNLM_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "text_techdocs").is_dir():
        pytest.skip(f"no test data at {folder}; set OWNLM_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """A small tokenizer from our own source code."""
    return bpe.train((path.read_text("utf-8") for path in sorted((ROOT / "src").rglob("*.py"))), 2048)


@pytest.fixture
def kernels():
    if native.kernels() is None:
        pytest.skip(f"native kernels: {native.status()}")
    return native.kernels()
