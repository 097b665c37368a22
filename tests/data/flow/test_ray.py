"""On Ray the files are the same as on local workers."""

from __future__ import annotations

import pytest
from test_pipelines import STEPS, corpus, files_of, mine, pipeline

from ownlm.data.flow import snapshot
from ownlm.data.flow.workers import LocalWorkers


@pytest.mark.slow
def test_the_same_bytes_on_ray(tmp_path):
    pytest.importorskip("ray", reason="ray is not installed: pip install 'ownlm[ray]'")
    from ownlm.data.adapters.ray import RayWorkers

    chosen = pipeline(tmp_path, corpus(tmp_path / "data", 60, {7: "CRASH"}), mine("Trouble"), *STEPS)
    snapshot.make(chosen, tmp_path / "local", LocalWorkers(2))
    snapshot.make(chosen, tmp_path / "ray", RayWorkers(None, 2))
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "local")
