"""The page of runs in headless Chromium: it follows a run that writes, and shows hostile text as text."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "train" / "tracking")]

import planted  # noqa: E402
import screenshot  # noqa: E402

if importlib.util.find_spec("playwright") is None:
    pytest.skip("playwright is not installed (pip install playwright)", allow_module_level=True)
if screenshot.chromium() is None:
    pytest.skip("no chromium, chromium-browser or google-chrome on the PATH", allow_module_level=True)

from ownlm.train.page import report, server  # noqa: E402
from ownlm.train.runs import Run  # noqa: E402
from ownlm.train.tracking.log import RunLog  # noqa: E402

WIDE, NARROW = (1440, 900), (375, 812)
HOSTILE = "</script><img src=x onerror=\"document.title='taken'\"><b>bold</b> & <!-- '"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with screenshot.browser() as opened:
        yield opened


@pytest.fixture
def visit(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """visit(folders or a report file, size, dark) -> page; nothing foreign asked, nothing complained about."""
    left: list[Any] = []

    def go(what: list[Path] | Path, size: tuple[int, int] = WIDE, dark: bool = False) -> Any:
        made = None
        if isinstance(what, Path):
            url = what.as_uri()
        else:
            made = server.serve([Run(folder) for folder in what])
            threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
            url = f"http://127.0.0.1:{made.server_address[1]}/"
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light")  # fmt: skip
        page = context.new_page()
        page.set_default_timeout(10_000)
        seen = SimpleNamespace(console=[], requests=[], errors=[])
        page.on("console", lambda m: seen.console.append(m.text))
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.on("request", lambda request: seen.requests.append(request.url))
        left.append((context, made, url, seen))
        page.goto(url)
        page.wait_for_selector(".run")
        return page

    yield go
    for context, made, url, seen in left:
        context.close()
        if made is not None:
            made.shutdown()
            made.server_close()
        assert seen.errors == [] and seen.console == []
        assert all(each.startswith((url, "data:")) for each in seen.requests), seen.requests


def until(page: Any, expression: str) -> None:
    end = time.monotonic() + 15
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(50)


def fits(page: Any) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def full(folder: Path, steps: int = 400, **options: Any) -> Path:
    with RunLog(folder, planted.settings(steps), workplace=folder.parent, **options) as log:
        for step in range(1, steps + 1):
            log.step(
                planted.record(step, steps, **({"loss": 9.5, "event": "loss spike"} if step == 300 else {}))
            )
            if step % 100 == 0:
                log.validation(step, loss=planted.loss_at(step) + 0.1)
                log.benchmark(step, accuracy=step / 1000)
                log.gradients(step, {f"blocks.{i}": 0.1 * (i + 1) for i in range(3)})
    return folder


def test_the_page_follows_a_run_that_writes(visit, tmp_path):
    log = RunLog(tmp_path / "run", planted.settings(), workplace=tmp_path)
    for step in range(1, 6):
        log.step(planted.record(step))
    page = visit([tmp_path / "run"], NARROW, dark=True)
    assert fits(page) and page.inner_text(".pill") == "running" and "5 / 100" in page.inner_text(".tiles")
    before = page.get_attribute("#chart-loss path.s0:not(.faint)", "d")
    for step in range(6, 31):
        log.step(planted.record(step))
    log.validation(30, loss=1.75)
    log.event("the loss went up and away")
    until(page, "document.querySelector('.tiles').innerText.includes('30 / 100')")
    assert page.get_attribute("#chart-loss path.s0:not(.faint)", "d") != before
    assert page.locator("#chart-loss circle.dot").count() == 1
    assert page.locator("#chart-loss .flag").count() == 1
    assert "the loss went up and away" in page.inner_text("#event-list")
    assert page.inner_text("#connection") == "live" and "ETA" in page.inner_text(".tiles")
    log.finish()
    until(page, "document.querySelector('.pill').innerText === 'finished'")


@pytest.mark.slow
@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize("dark", [False, True])
def test_a_finished_run_as_one_file(visit, tmp_path, size, dark):
    full(tmp_path / "run", data={"shards": "ab" * 32})
    (tmp_path / "report.html").write_text(report.render([Run(tmp_path / "run")]))
    page = visit(tmp_path / "report.html", size, dark)
    assert fits(page) and page.locator("noscript").is_hidden()
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(22, 21, 20)" if dark else "rgb(250, 249, 246)")
    for name in ("loss", "learning_rate", "grad_norm", "tokens_per_second", "mfu"):
        assert len(page.get_attribute(f"#chart-{name} path.s0", "d")) > 1000
    assert page.locator("#heat canvas").count() == 3 and page.locator("#chart-loss circle.dot").count() == 4
    assert "shards" in page.inner_text("#origins") and "accuracy 0.4" in page.inner_text("#measured-list")
    page.fill("#search", "clip")
    assert page.locator("#settings-table tbody tr").count() == 2
    assert "default" in page.inner_text("#settings-table tbody")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != paper
    page.hover("#chart-loss svg", position={"x": size[0] // 3, "y": 90})
    assert "loss, this step" in page.inner_text("#tip") and "smoothed" in page.inner_text("#tip")


@pytest.mark.slow
def test_axes_smoothing_and_the_spike(visit, tmp_path):
    full(tmp_path / "run")
    page = visit([tmp_path / "run"])
    path = "#chart-loss path.s0"
    heights = "[...document.querySelector('#chart-loss path.s0').getAttribute('d').matchAll(/ ([\\d.]+)/g)].map(m => +m[1])"  # fmt: skip
    high = page.evaluate(heights)
    assert min(range(len(high)), key=high.__getitem__) == 299, "the spike of step 300 is the highest point"
    shapes = {page.get_attribute(path, "d")}
    for change in ("#log-x", "#log-y", "#focus"):
        page.check(change)
        shapes.add(page.get_attribute(path, "d"))
    page.select_option("#axis", "tokens")
    assert len(shapes) == 4 and page.locator("#chart-loss text", has_text="k").count() > 0
    page.select_option("#axis", "elapsed")
    page.select_option("#smooth", "0")
    assert page.locator("#chart-loss path.faint").count() == 0 and page.locator(path).count() == 1


@pytest.mark.slow
def test_several_runs_share_a_chart_and_show_what_differs(visit, tmp_path):
    full(tmp_path / "one")
    full(tmp_path / "two", steps=200)
    page = visit([tmp_path / "one", tmp_path / "two"], NARROW)
    assert fits(page) and page.inner_text("#title") == "2 runs"
    assert page.locator("#chart-loss path.s1").count() == 2
    assert page.locator("#settings-table tbody tr").count() == 1 and "num_steps" in page.inner_text(
        "#settings-table"
    )
    page.uncheck("#differences")
    assert page.locator("#settings-table tr.differs").count() == 1
    assert page.locator("#settings-table tbody tr").count() > 10


@pytest.mark.parametrize("file", [pytest.param(False, marks=pytest.mark.slow), True])
def test_hostile_text_is_shown_as_text(visit, tmp_path, file):
    folder = tmp_path / "run"
    with RunLog(folder, planted.settings(), settings={HOSTILE: HOSTILE}, sources={HOSTILE: HOSTILE}, name=HOSTILE,
                data={HOSTILE: HOSTILE}, note=HOSTILE, workplace=tmp_path) as log:  # fmt: skip
        log.step(planted.record(1))
        log.step(planted.record(2, event=HOSTILE))
        log.validation(2, **{HOSTILE: 1.0})
        log.gradients(2, {HOSTILE: 1.0})
    (tmp_path / "report.html").write_text(report.render([Run(folder)]))
    page = visit(tmp_path / "report.html" if file else [folder])
    assert page.locator("img").count() == 0 and page.title() != "taken"
    assert page.inner_text("#title") == HOSTILE and HOSTILE in page.inner_text("#event-list")
    for place in (".run", "#heat", "#measured-list", "#settings-table", "#origins"):
        assert "<b>bold</b>" in page.inner_text(place), place
    assert HOSTILE in page.evaluate("document.querySelector('.flag title').textContent")
