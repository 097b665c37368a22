"""Pictures of the page, by a real conversation.

    python tests/e2e/screenshot.py URL OUT.png [question] [options]

--width 1440 --height 900   size of the window
--dark                      dark colours
--panel passage|lineage     open a panel first
--chromium PATH             the browser, when it is not on the PATH
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@contextmanager
def browser(path: str | None = None) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path or chromium(), args=ARGUMENTS)
        try:
            yield opened
        finally:
            opened.close()


def open_page(opened: Any, url: str, width: int, height: int, dark: bool = False) -> Any:
    scheme = "dark" if dark else "light"
    context = opened.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("#examples .example, #door:not([hidden]), .problem")
    return page


def ask(page: Any, question: str, seconds: float = 120) -> None:
    page.fill("#question", question)
    page.press("#question", "Enter")
    page.wait_for_selector(".turn:last-child .answer[aria-busy=false]", timeout=seconds * 1000)


def take(
    url: str,
    out: str,
    question: str = "",
    width: int = 1440,
    height: int = 900,
    dark: bool = False,
    panel: str = "",
    executable: str | None = None,
) -> None:
    """Open the page, ask (the first example when no question is given), open a panel, take the picture."""
    with browser(executable) as opened:
        page = open_page(opened, url, width, height, dark)
        if question != "-":
            ask(page, question or page.inner_text("#examples .example"))
        if panel:
            page.click(".turn:last-child .cite" if panel == "passage" else ".turn:last-child .why")
            page.wait_for_selector(".document" if panel == "passage" else ".part + .part")
        page.wait_for_timeout(400)
        page.screenshot(path=out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("out")
    parser.add_argument("question", nargs="?", default="", help='"-": ask nothing')
    parser.add_argument("--width", type=int, default=1440)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--panel", choices=("passage", "lineage"), default="")
    parser.add_argument("--chromium", default=None)
    given = parser.parse_args()
    take(
        given.url,
        given.out,
        given.question,
        given.width,
        given.height,
        given.dark,
        given.panel,
        given.chromium,
    )


if __name__ == "__main__":
    main()
