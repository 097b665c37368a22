"""`ownlm data crawl`: pages of the user's own sites into WARC files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ownlm.cli.output import err, out, print_json

Seeds = Annotated[
    list[str], typer.Argument(metavar="URL...", help="Where to begin; their hosts are crawled.")
]
Out = Annotated[Path, typer.Option("--out", help="Folder for the WARC files; the same folder again goes on.")]
MaxPages = Annotated[int, typer.Option(help="Pages to store in all, earlier runs included.", min=1)]
Depth = Annotated[int, typer.Option(help="Most links from a start page.", min=0)]
Delay = Annotated[
    float, typer.Option(help="Seconds between two requests to a host; a longer Crawl-delay wins.", min=0.0)
]
SameHost = Annotated[
    bool, typer.Option("--same-host/--any-host", help="Stay on the hosts of the start pages.")
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(help="Paths not to fetch, as in robots.txt: /private/ or *.pdf$. May repeat."),
]
Types = Annotated[list[str] | None, typer.Option("--type", help="Media type to store. May repeat.")]
PageBytes = Annotated[int, typer.Option(help="Largest page in bytes, unpacked.", min=1)]
PageSeconds = Annotated[float, typer.Option(help="Longest time for one page.", min=0.1)]
Retries = Annotated[int, typer.Option(help="Further attempts after a timeout, 429 or 5xx.", min=0)]
RetrySeconds = Annotated[
    float, typer.Option(help="Wait before the first further attempt; threefold for each next one.", min=0.0)
]
Sitemaps = Annotated[bool, typer.Option("--sitemaps/--no-sitemaps", help="Read the sitemaps of the sites.")]
AllowPrivate = Annotated[
    bool,
    typer.Option("--allow-private", help="Also connect to private and loopback addresses (your intranet)."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")]


def crawl(
    urls: Seeds, folder: Out, max_pages: MaxPages = 1000, depth: Depth = 10, delay: Delay = 1.0,
    same_host: SameHost = True, exclude: Exclude = None, types: Types = None, page_bytes: PageBytes = 16 << 20,
    page_seconds: PageSeconds = 30.0, retries: Retries = 2, retry_seconds: RetrySeconds = 10.0, sitemaps: Sitemaps = True,
    allow_private: AllowPrivate = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Crawl your own sites politely into WARC files that a pipeline can read.

    Obeyed, without an option to ignore them: robots.txt (RFC 9309) and do-not-train signals (noai, noindex,
    TDM reservation, Content-Usage, Content-Signal, ai.txt). To let ownlm into a site that keeps crawlers out,
    add a group `User-agent: ownlm` to its robots.txt. Stop at any moment; the same command goes on.

    Exit codes: 0 done, 2 a bad URL, 4 the folder holds something else, 5 disk, or another crawl at work.

    Example: ownlm data crawl https://docs.example.com/ --out out/crawl --max-pages 500
    """
    from ownlm.data.crawl.crawl import CrawlSettings
    from ownlm.data.crawl.crawl import crawl as run

    settings = CrawlSettings(
        max_pages=max_pages, depth=depth, delay=delay, same_host=same_host, exclude=tuple(exclude or ()),
        page_bytes=page_bytes, page_seconds=page_seconds, retries=retries, retry_seconds=retry_seconds, sitemaps=sitemaps,
        allow_private=allow_private,
    )  # fmt: skip
    if types:
        settings = settings.model_copy(update={"types": tuple(name.lower() for name in types)})
    summary = run(urls, folder, settings)
    if as_json:
        print_json({"folder": str(folder), **asdict(summary)})
        return
    out.print(f"stored {summary.stored} pages in {', '.join(summary.files)}", markup=False)
    for state, reasons in (("refused", summary.refused), ("failed", summary.failed)):
        for reason, pages in reasons.items():
            out.print(f"  {state:<8}{pages:>8}  {reason}", markup=False)
    if summary.moved:
        out.print(f"  moved   {summary.moved:>8}  to another address", markup=False)
    if summary.links_left:
        out.print(f"  left out {summary.links_left:>7}  links of pages with more than 10,000", markup=False)
    if summary.waiting:
        err.print(
            f"{summary.waiting} known pages are not fetched yet: raise --max-pages and run it again",
            markup=False,
        )
