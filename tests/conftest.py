"""Hypothesis draws the same examples in every run of the fast tier, so that one commit has one verdict; the slow tier
(and OWNLM_EXPLORE=1) draws new ones."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import settings

settings.register_profile("steady", derandomize=True)
settings.register_profile("explore", derandomize=False, print_blob=True)
settings.load_profile("explore" if os.environ.get("OWNLM_EXPLORE") == "1" else "steady")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """What draws from torch's global generator draws the same, whichever tests ran before in this process."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
