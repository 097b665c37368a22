"""The baselines against the xz program and hand computation."""

from __future__ import annotations

import math
import shutil
import subprocess

import numpy as np
import pytest

from ownlm.data.ngram import KneserNey
from ownlm.errors import DataError
from ownlm.evals import baselines


def text(seed: int, size: int) -> bytes:
    rng = np.random.default_rng(seed)
    words = [b"alpha", b"beta", b"gamma ray", b"delta\n", b"epsilon", b"zeta"]
    return b" ".join(words[i] for i in rng.integers(0, len(words), size))


@pytest.mark.skipif(shutil.which("xz") is None, reason="the xz program is not installed")
def test_xz_equals_the_program() -> None:
    train, heldout = text(1, 4000), text(2, 500)

    def size(data: bytes) -> int:
        return len(
            subprocess.run(["xz", "-9e", "-T1", "-c"], input=data, capture_output=True, check=True).stdout
        )

    alone, conditional = baselines.xz(train, heldout)
    assert alone.bits_per_byte == pytest.approx(size(heldout) * 8 / len(heldout), rel=1e-12)
    expected = (size(train + heldout) - size(train)) * 8 / len(heldout)
    assert conditional.bits_per_byte == pytest.approx(expected, rel=1e-12)
    assert conditional.bits_per_byte < alone.bits_per_byte
    assert f"{len(train)} of {len(train)}" in conditional.note


def test_xz_says_what_it_could_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "XZ_WINDOW", 3000)
    train, heldout = text(1, 4000), text(2, 100)
    conditional = baselines.xz(train, heldout)[1]
    assert f"{3000 - len(heldout)} of {len(train)}" in conditional.note and "64 MiB" in conditional.note
    with pytest.raises(DataError):
        baselines.xz(train, b"")


def test_kneser_ney_counts_the_same_tokens_and_bytes() -> None:
    rng = np.random.default_rng(0)
    train = rng.integers(1, 20, 2000)
    starts = np.array([0, 700, 1500])
    train[starts] = 0
    heldout = np.array([0, 5, 6, 7, 0, 9, 0], dtype=np.uint16)
    held = list(baselines.split_documents(heldout, np.array([0, 4, 6])))
    assert [len(ids) for ids in held] == [4, 2, 1]
    found = baselines.kneser_ney(baselines.split_documents(train, starts), held, 13, 20)
    model = KneserNey(5).fit([train[1:700], train[701:1500], train[1501:]], 20)
    nats = -model.log_prob([5, 6, 7]) - model.log_prob([9])
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / 13)
    assert "1997 tokens in 3 documents" in found.note


def test_kneser_ney_says_what_was_left_out() -> None:
    documents = [np.array([0, 1, 2, 3])] * 5
    found = baselines.kneser_ney(documents, documents[:1], 3, 8, max_train_tokens=7)
    assert "6 tokens in 2 documents" in found.note and "3 documents left out" in found.note


def test_bytes_are_utf8() -> None:
    assert baselines.join(["ä", "b"]) == "äb".encode()
