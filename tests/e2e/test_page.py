"""A real conversation with the page in headless Chromium, against a scripted generator."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "serve")]

import screenshot  # noqa: E402
import standin  # noqa: E402

if importlib.util.find_spec("playwright") is None:
    pytest.skip("playwright is not installed (pip install playwright)", allow_module_level=True)
if screenshot.chromium() is None:
    pytest.skip("no chromium, chromium-browser or google-chrome on the PATH", allow_module_level=True)

WIDE, NARROW = (1440, 900), (375, 812)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with screenshot.browser() as opened:
        yield opened


@pytest.fixture
def visit(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """visit(size, dark=False, **create_app arguments) -> page, with everything suspicious collected."""
    left = []

    def go(size: tuple[int, int] = WIDE, dark: bool = False, **changes: Any) -> SimpleNamespace:
        feedback = tmp_path / "feedback.jsonl"
        app, script = standin.make_app(feedback_path=feedback, **changes)
        server = standin.served(app)
        url = server.__enter__()
        seen: dict[str, list[str]] = {"console": [], "requests": [], "errors": []}
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light"
        )
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=url)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on(
            "console", lambda m: seen["console"].append(m.text) if m.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: seen["errors"].append(str(error)))
        page.on("request", lambda request: seen["requests"].append(request.url))
        left.append((context, server, url, seen))
        page.goto(url)
        page.wait_for_selector("#examples .example, #door:not([hidden])")
        return SimpleNamespace(page=page, url=url, script=script, seen=seen, feedback=feedback, app=app)

    yield go
    for context, server, url, seen in left:
        context.close()
        server.__exit__(None, None, None)
        assert all(request.startswith(url) for request in seen["requests"]), seen["requests"]
        assert seen["errors"] == []
        # Chromium notes each 4xx by itself; a policy violation or a mistake of ours would be here too
        assert [text for text in seen["console"] if not text.startswith("Failed to load resource")] == []


def until(page: Any, expression: str) -> None:
    """Wait until it is true. (The page's policy forbids wait_for_function, which compiles text there.)"""
    end = time.monotonic() + 10
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(20)


def fits(page: Any) -> bool:
    """Nothing sticks out sideways."""
    return page.evaluate(
        "document.documentElement.scrollWidth <= innerWidth && document.body.scrollWidth <= innerWidth"
    )


@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize("dark", [False, True])
def test_a_conversation(visit, size, dark):
    at = visit(size, dark)
    page = at.page
    assert "10,214 documents · 8.1\u00a0M tokens · 12.6\u00a0M parameters" in page.inner_text("#facts")
    assert fits(page)
    page.click("#examples .example >> nth=2")
    page.wait_for_selector(".answer[aria-busy=false]")
    assert page.inner_text(".question") == "How do I keep a list sorted?"
    assert page.locator(".cite").all_inner_texts() == ["1", "2"]
    assert page.locator(".source .title").all_inner_texts() == ["bisect.insort", "bisect"]
    assert "38 tokens" in page.inner_text(".speed") and "first after" in page.inner_text(".speed")
    screenshot.ask(page, "What is the distance to the moon?")
    assert "do not contain" in page.inner_text(".refusal") and page.locator(".turn").count() == 2
    assert fits(page)

    page.click(".cite >> nth=1")
    page.wait_for_selector("mark.here")
    assert page.inner_text("mark.here").startswith("This module provides support")
    assert "PSF-2.0" in page.inner_text(".facts-list") and "bisect.py" in page.inner_text(".facts-list")
    assert page.inner_text(".document").startswith("bisect — Array bisection")
    page.click(".tab >> nth=0")
    until(page, "document.querySelector('mark.here')?.textContent.startsWith('Insert item')")
    assert fits(page)
    page.keyboard.press("Escape")
    assert page.locator("#panel").is_hidden()

    page.click(".why >> nth=0")
    page.wait_for_selector(".overlaps")
    panel = page.inner_text("#panel")
    assert standin.MODEL_INFO["digest"] in panel and "10,180 documents" in panel and "MIT" in panel
    marks = page.locator(".painted mark").all_inner_texts()
    assert marks[0] == "Insert item x in list a, and keep it sorted assuming a is sorted."
    assert len(marks) == 1, "what only stands in an indexed document is not called training text"
    assert page.locator(".overlaps mark").count() == 2 and page.locator(".passage").count() == 3
    assert page.locator(".overlaps .badge", has_text="not trained on").count() == 1
    assert fits(page)


def test_stop_keeps_what_came_and_aborts_the_generator(visit):
    at = visit()
    at.page.fill("#question", "endless")
    at.page.press("#question", "Enter")
    until(at.page, "document.querySelector('.text')?.textContent.length > 20")
    at.page.click("#send")
    at.page.wait_for_selector(".note")
    assert at.page.inner_text(".note") == "Stopped." and "on and on" in at.page.inner_text(".text")
    assert at.script.closed.wait(3)
    screenshot.ask(at.page, "How do I keep a list sorted?")
    assert at.page.locator(".cite").count() == 2


def test_keyboard_only(visit):
    at = visit()
    page = at.page
    assert page.evaluate("document.activeElement.id") == "question"
    page.keyboard.type("How do I")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("keep a list sorted?")
    page.keyboard.press("Enter")
    page.wait_for_selector(".answer[aria-busy=false]")
    assert page.inner_text(".question") == "How do I\nkeep a list sorted?"
    for _ in range(30):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.classList.contains('cite')"):
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "focus must be visible"
    page.keyboard.press("Enter")
    page.wait_for_selector("mark.here")
    for _ in range(12):  # focus stays in the panel, both ways round
        page.keyboard.press("Tab")
        assert page.evaluate("document.getElementById('panel').contains(document.activeElement)")
    for _ in range(12):
        page.keyboard.press("Shift+Tab")
        assert page.evaluate("document.getElementById('panel').contains(document.activeElement)")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.classList.contains('cite')"), "focus goes back"
    page.focus("#question")
    page.keyboard.type("endless")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('.turn:last-child .text')?.textContent.length > 20")
    page.keyboard.press("Escape")
    page.wait_for_selector(".note")
    assert at.script.closed.wait(3)


def test_text_is_never_markup(visit):
    at = visit()
    page = at.page
    evil = "evil " + standin.EVIL
    screenshot.ask(page, evil)
    assert page.inner_text(".question") == evil
    assert "<script>" in page.inner_text(".text") and "onerror" in page.inner_text(".text")
    assert page.locator(".cite").count() == 1
    page.click(".cite")
    page.wait_for_selector("mark.here")
    assert "<script>" in page.inner_text("mark.here") and "<b>evil</b>.py" in page.inner_text(".facts-list")
    page.keyboard.press("Escape")
    page.click(".why")
    page.wait_for_selector(".part + .part")
    assert page.evaluate("window.hacked") is None
    assert (
        page.locator("#turns script, #turns img, #panel script, #panel img, #turns a, #panel a").count() == 0
    )


def test_policy_is_enforced_by_the_browser(browser):
    """The control: what the page never does would be stopped, so the absence of reports means something."""
    app, _ = standin.make_app()
    with standin.served(app) as url:
        context = browser.new_context()
        page = context.new_page()
        reports: list[str] = []
        page.on("console", lambda message: reports.append(message.text))
        page.goto(url)
        page.wait_for_selector(".example")
        outcome = page.evaluate(
            """() => { const s = document.createElement("img"); s.src = "http://192.0.2.1/x.png";
            document.body.append(s);
            try { document.body.innerHTML = "<p>x"; return "written"; } catch { return "refused"; } }"""
        )
        page.wait_for_timeout(200)
        assert outcome == "refused" and any("Content Security Policy" in text for text in reports)
        context.close()


def test_errors_are_readable_and_the_question_is_not_lost(visit):
    at = visit()
    screenshot.ask(at.page, "word " * 80)
    text = at.page.inner_text(".problem")
    assert "80 tokens of prompt, context 64" in text and "req_" in text
    at.page.click(".problem .quiet")
    assert at.page.input_value("#question").startswith("word word")
    screenshot.ask(at.page, "break half way")
    assert "The server failed on this request" in at.page.inner_text(".turn:last-child .problem")
    assert at.page.inner_text(".turn:last-child .text").startswith("bisect.insort: Insert"), "what came stays"
    screenshot.ask(at.page, "overload")
    assert "Try again in 3 s." in at.page.inner_text(".turn:last-child .problem")


def test_feedback_copy_and_new_conversation(visit):
    at = visit(delay=0.001)
    page = at.page
    screenshot.ask(page, "How do I keep a list sorted?")
    page.check(".consent input")
    page.click("[aria-label='Bad answer']")
    page.wait_for_selector("[aria-label='Bad answer'][aria-pressed=true]")
    record = json.loads(at.feedback.read_text())
    assert record["rating"] == "down" and record["question"] == "How do I keep a list sorted?"
    assert record["consent"] is True
    page.click("[aria-label='Copy the answer']")
    until(page, "document.getElementById('status').textContent === 'Copied.'")
    assert page.evaluate("navigator.clipboard.readText()").startswith("bisect.insort: Insert item x")
    page.click("#new")
    assert page.locator(".turn").count() == 0 and page.locator("#welcome").is_visible()


def test_colours_follow_the_system_until_chosen(visit):
    page = visit(dark=True).page
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    page.click("#theme")
    assert page.evaluate(colour) != dark
    light = page.evaluate(colour)
    page.reload()
    page.wait_for_selector(".example")
    assert page.evaluate(colour) == light, "the choice is kept"
    page.click("#theme")
    assert page.evaluate(colour) == dark


def test_key_is_asked_for_and_kept_in_memory_only(visit):
    page = visit(api_key=standin.KEY).page
    page.fill("#key", "wrong")
    page.press("#key", "Enter")
    until(page, "document.getElementById('key-error').textContent.includes('not accepted')")
    page.fill("#key", standin.KEY)
    page.press("#key", "Enter")
    page.wait_for_selector(".example")
    screenshot.ask(page, "How do I keep a list sorted?")
    assert page.locator(".cite").count() == 2
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert standin.KEY not in kept
    page.reload()
    page.wait_for_selector("#door:not([hidden])")


def test_positions_count_characters_not_utf16_units(visit):
    store = standin.Store()
    smile = "😀" * 40 + "\nThe smile is here.\n"
    store.documents["d1"] = standin.Document("d1", smile, "smile.txt", "CC0-1.0")
    at_text = smile.index("The smile")
    store.passages[11] = standin.passage(11, store.documents["d1"], "smile", at_text, at_text + 18)
    at = visit(passages=store)
    screenshot.ask(at.page, "How do I keep a list sorted?")
    at.page.click(".cite")
    at.page.wait_for_selector("mark.here")
    assert at.page.inner_text("mark.here") == "The smile is here."
