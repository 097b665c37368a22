"""`ownlm data crawl` as the user calls it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ownlm.cli.crawl import crawl

sys.path.insert(0, str(Path(__file__).parents[1] / "data" / "crawl"))
from local_site import page, serve

app = typer.Typer()
app.command()(crawl)


def test_stores_pages_and_says_what_it_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWNLM_QUIET", "1")
    pages = {"/": page("/a", "/no.png"), "/a": page(), "/no.png": (200, {"Content-Type": "image/png"}, b"x")}
    with serve(pages) as site:
        call = [site.url, "--out", str(tmp_path), "--delay", "0", "--allow-private"]
        shown = CliRunner().invoke(app, call)
        assert shown.exit_code == 0, shown.output
        assert "stored 2 pages in crawl-00000.warc.gz" in shown.output
        assert "refused" in shown.output and "media type" in shown.output
        asked = len(site.asked)
        again = CliRunner().invoke(app, [*call, "--json"])
        facts = json.loads(again.stdout)
        assert facts["stored"] == 2 and facts["refused"] == {"media type": 1}
        assert len(site.asked) == asked  # everything is known: nothing is fetched twice


def test_without_the_option_private_addresses_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OWNLM_QUIET", "1")
    with serve({"/": page()}) as site:
        shown = CliRunner().invoke(
            app, [site.url, "--out", str(tmp_path), "--delay", "0", "--retries", "0", "--json"]
        )
        assert json.loads(shown.stdout)["stored"] == 0 and site.asked == []
