"""The page's data and its server, without a browser: no spike is lost, nothing hostile gets out of its place."""

from __future__ import annotations

import http.client
import json
import math
import re
import threading
from collections.abc import Iterator

import numpy as np
import planted
import pytest

from ownlm.train.page import payload, report, server
from ownlm.train.runs import Run
from ownlm.train.tracking.log import RunLog

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> ' \" & <!--"


def test_thinning_keeps_every_spike_and_the_envelope():
    random = np.random.default_rng(5)
    n = 60_000
    loss, norm = random.normal(size=n), random.normal(size=n)
    spikes = random.choice(n, 12, replace=False)
    loss[spikes[:6]] += 100
    norm[spikes[6:]] -= 100
    norm[[7, 59_999]] = math.inf, math.nan
    rows = payload.thinned([loss.tolist(), norm.tolist()])
    assert len(rows) < 8 * payload.BUCKETS and (np.diff(rows) > 0).all()
    assert {0, n - 1, 7, *spikes.tolist()} <= set(rows.tolist())
    kept = np.zeros(n, dtype=bool)
    kept[rows] = True
    edges = np.linspace(0, n, payload.BUCKETS + 1).astype(int)
    for start, end in zip(
        edges[:-1], edges[1:], strict=True
    ):  # what each pixel column shows is what it would of all
        part = loss[start:end]
        assert loss[start:end][kept[start:end]].max() == part.max()
        assert loss[start:end][kept[start:end]].min() == part.min()
    assert kept[:100].sum() > 30, "on a logarithmic axis the beginning is wide"


@pytest.mark.parametrize("n", [0, 1, 2, 2000, 2001])
def test_thinning_of_few_rows(n):
    rows = payload.thinned([[1.0] * n])
    assert len(rows) <= n and (n == 0 or {0, n - 1} <= set(rows.tolist()))


def test_a_long_run_keeps_its_spike_on_the_page(tmp_path):
    with RunLog(tmp_path, planted.settings(5000)) as log:
        for step in range(1, 5001):
            log.step(planted.record(step, 5000, **({"loss": 55.5, "event": "spike"} if step == 3210 else {})))
    facts = payload.of(Run(tmp_path))
    columns = facts["columns"]
    assert facts["num_rows"] == 5000 and len(columns["step"]) < 5000
    assert columns["loss"][columns["step"].index(3210)] == 55.5
    assert len({len(column) for column in columns.values()}) == 1
    assert facts["events"] == [{"step": 3210, "time": facts["events"][0]["time"], "text": "spike"}]


def test_gradients_keep_the_largest_of_a_stretch(tmp_path):
    with RunLog(tmp_path, planted.settings(900)) as log:
        for step in range(1, 901):
            log.gradients(step, {"low": 1.0, "high": 9.0 if step == 333 else 2.0} | ({"late": math.nan} if step > 890 else {}))  # fmt: skip
    facts = payload.of(Run(tmp_path))["gradients"]
    assert len(facts["steps"]) == payload.NUM_GRADIENTS and facts["layers"] == ["low", "high", "late"]
    assert (
        max(facts["values"][1]) == 9.0
        and set(facts["values"][0]) == {1.0}
        and set(facts["values"][2]) == {None}
    )


@pytest.fixture
def hostile(tmp_path) -> Run:
    with RunLog(tmp_path / "run", planted.settings(), settings={HOSTILE: HOSTILE}, sources={HOSTILE: HOSTILE},
                data={HOSTILE: HOSTILE}, name=HOSTILE, note=HOSTILE, workplace=tmp_path) as log:  # fmt: skip
        log.step(planted.record(1, event=HOSTILE))
        log.validation(1, **{HOSTILE: 1.0, "loss": 2.0})
        log.gradients(1, {HOSTILE: 1.0})
        log.event("\x1b[31m" + HOSTILE)
    return Run(tmp_path / "run")


def test_hostile_text_stays_inside_the_data_of_the_report(hostile):
    page = report.render([hostile])
    plain = report.render([])
    assert page.count("<script") == plain.count("<script") and page.count("<img") == plain.count("<img") == 0
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])
    assert data["runs"][0]["name"] == HOSTILE and data["runs"][0]["events"][0]["text"] == HOSTILE
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    assert "unsafe" not in policy and policy.startswith("default-src 'none'") and policy.count("sha256-") == 4
    assert not re.search(r'(src|href)="(?!data:)', page), "one file, nothing beside it"


@pytest.fixture
def served(hostile) -> Iterator[tuple[str, int]]:
    made = server.serve([hostile])
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made.server_address
    made.shutdown()
    made.server_close()
    thread.join()


def get(address, path: str, **headers: str) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection(*address, timeout=10)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode(), {key.lower(): value for key, value in answer.getheaders()}
    connection.close()
    return found


def test_the_server_answers_what_it_has_and_nothing_else(served, hostile):
    assert served[0] == "127.0.0.1"
    for path in ("/", "/page.css", "/theme.js", "/chart.js", "/page.js"):
        status, text, headers = get(served, path)
        assert status == 200 and text and headers["x-content-type-options"] == "nosniff"
        assert "unsafe" not in headers["content-security-policy"]
    for path in ("/payload.py", "/../runs.py", "/%2e%2e/runs.py", "/run.json", "//etc/passwd", "/page.html"):
        assert get(served, path)[0] == 404, path
    assert get(served, "/data.json", Host="evil.example:80")[0] == 403
    first = json.loads(get(served, "/data.json")[1])
    assert first["runs"][0]["name"] == HOSTILE
    again = json.loads(get(served, f"/data.json?since={first['token']}")[1])
    assert "runs" not in again and again["moments"][0]["status"] == "finished"
    with RunLog(hostile.folder, planted.settings()) as log:
        log.step(planted.record(2))
        new = json.loads(get(served, f"/data.json?since={first['token']}")[1])
        assert new["runs"][0]["columns"]["step"] == [1, 2] and new["moments"][0]["status"] == "running"


def test_a_run_that_is_removed_is_told_about(served, hostile):
    (hostile.folder / "metrics.jsonl").unlink()
    answer = json.loads(get(served, "/data.json")[1])
    assert "metrics.jsonl" in answer["problem"] and answer["runs"][0]["columns"]["step"] == [1]
