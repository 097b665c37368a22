"""One command from a Common Crawl shard to a trained checkpoint: pages, curated text, token shards, a model, its record.

    python recipes/common_crawl_to_model.py                                    a trial of seconds, offline
    python recipes/common_crawl_to_model.py --shard 'crawl/*.warc.gz' --size 10M --budget '2 h'
    python recipes/common_crawl_to_model.py --shard https://data.commoncrawl.org/crawl-data/CC-MAIN-2024-22/segments/...warc.gz

    shard ─ ownlm data run ─► OUT/web ─ ownlm data shards ─► OUT/shards ─ ownlm pretrain ─► OUT/run/model

A shard (WARC or WET; a path or an URL) is read in parts, a document at a time: its size is no matter, and a shard on the
web is never on this disk. --pipeline names the steps (`ownlm data recipe`), default FineWeb's for English. Without
--shard the recipe writes a WARC of its own: documentation of the running Python as HTML pages. Any setting of
`ownlm pretrain --keys` can follow as key=value. Stopped at any moment, the same command goes on where it stopped.
Every stage is an artifact with digests of what it was made from. Writes common_crawl_to_model.json to --out.
"""

import argparse
import ast
import html
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ownlm import config
from ownlm.data.crawl.fetch import Reply
from ownlm.data.crawl.warc import WarcFile
from ownlm.data.flow import recipe, snapshot
from ownlm.data.flow.workers import LocalWorkers
from ownlm.data.stdlib import standard_library
from ownlm.errors import OwnlmError
from ownlm.pipeline import token_shards
from ownlm.pipeline.pretraining.pretrain import pretrain
from ownlm.pipeline.pretraining.settings import PretrainSettings
from ownlm.runtime.seed import generator

TINY = ["context=64", "batch_tokens=512", "train.compile=false"]
LEAST_WORDS = 80  # of a page: shorter ones would only be dropped


def notice(text: str) -> None:
    print(text, file=sys.stderr)


def paragraphs(source: str, text: str) -> list[str]:
    """The prose of a document of the standard library: paragraphs of a topic, or of a module's docstrings."""
    if not source.endswith(".py"):
        return [" ".join(part.split()) for part in text.split("\n\n")]
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    told = [ast.get_docstring(node) for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
    return [" ".join(part.split()) for doc in told if doc for part in doc.split("\n\n")]


def pages(number: int, seed: int) -> Iterator[tuple[str, str]]:
    """(URL, HTML) of `number` pages of documentation, in an order drawn from the seed."""
    documents = list(standard_library())
    for place in generator(seed, "pages").permutation(len(documents)):
        source = documents[place].source
        told = paragraphs(source, documents[place].text)
        if sum(len(part.split()) for part in told) < LEAST_WORDS:
            continue
        body = "\n".join(f"<p>{html.escape(part)}</p>" for part in told)
        yield (
            f"https://docs.example/{source}",
            (
                f"<html lang=en><head><title>{source}</title></head><body><nav><a href=/>Home</a> <a href=/all>All</a></nav>"
                f"<article><h1>{html.escape(source)}</h1>\n{body}</article><footer>All rights reserved</footer></body></html>"
            ),
        )
        if not (number := number - 1):
            return


def own_shard(path: Path, number: int, seed: int) -> str:
    """A WARC like Common Crawl's, written once."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name("partial.warc.gz")
        partial.unlink(missing_ok=True)
        warc = WarcFile(partial, 0)
        for url, page in pages(number, seed):
            heads = [("Content-Type", "text/html; charset=utf-8")]
            warc.add(url, Reply(200, "OK", heads, page.encode(), b"GET / HTTP/1.1\r\n\r\n", "192.0.2.1", 0.0))
        warc.close()
        partial.rename(path)
    return str(path)


def curate(shards: list[str], args: argparse.Namespace) -> dict[str, Any]:
    """OUT/web and OUT/shards; the counts of both."""
    read = [name if "://" in name else str(Path(name).expanduser().resolve()) for name in shards]
    pipeline = recipe.load(args.pipeline, {"read": read, "seed": args.seed})
    web, _ = snapshot.make(pipeline, args.out / "web", LocalWorkers(args.workers), notice)
    for step in web.metrics["funnel"]["steps"]:
        notice(f"{step['step']:<20} {step['num_in']:>9,} in {step['num_out']:>9,} out   "
               + ", ".join(f"{reason} {count:,}" for reason, count in step["dropped"].items()))  # fmt: skip
    settings = token_shards.ShardSettings(
        vocab_size=args.vocab_size, length=None, heldout_fraction=0.1, seed=args.seed
    )
    tokens, _ = token_shards.make(args.out / "web", args.out / "shards", settings, notice)
    return {"web": web.metrics, "tokens": tokens.metrics}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--shard", action="append", help="WARC or WET: path, quoted pattern or URL; may repeat"
    )
    parser.add_argument("--pipeline", default="fineweb", help="a pipeline file, or the name of a recipe")
    parser.add_argument("--pages", type=int, default=150, help="of the trial's own shard")
    parser.add_argument("--vocab-size", type=int, help="default 32,768; 512 for the trial")
    parser.add_argument("--size", help="of the model: 10M, 'depth 8'; default 10M; 'depth 2' for the trial")
    parser.add_argument("--budget", help="default 1 epochs; 40 steps for the trial")
    parser.add_argument("--workers", type=int, default=2, help="processes that curate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/common_crawl"))
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as `ownlm pretrain --keys` lists")
    args = parser.parse_args()
    tiny = args.shard is None
    args.vocab_size = args.vocab_size or (512 if tiny else 32_768)
    size, budget = (
        args.size or ("depth 2" if tiny else "10M"),
        args.budget or ("40 steps" if tiny else "1 epochs"),
    )
    try:
        made = curate(args.shard or [own_shard(args.out / "own.warc.gz", args.pages, args.seed)], args)
        resolved = config.load(PretrainSettings, None, [
            f"data={json.dumps(str(args.out / 'shards'))}", f"size={size}", f"budget={budget}", f"seed={args.seed}",
            *(TINY if tiny else []), *args.overrides,
        ])  # fmt: skip
        found = pretrain(resolved.value, resolved.origins, args.out / "run", notice)
    except OwnlmError as error:
        sys.exit(str(error))
    kept, tokens = made["web"], made["tokens"]
    print(f"{kept['num_documents']:,} documents kept, {tokens['num_tokens']:,} tokens; validation loss "
          f"{found['validation_loss']:.4f} nats per token after {found['tokens']:,} tokens")  # fmt: skip
    print(
        f"report {args.out}/web/report.html   metrics {args.out}/run/metrics.jsonl   model {args.out}/run/model"
    )
    (args.out / "common_crawl_to_model.json").write_text(json.dumps({
        "shards": args.shard or "own", "funnel": kept["funnel"]["steps"], "documents": kept["num_documents"],
        "tokens": tokens["num_tokens"], "heldout_tokens": tokens["heldout_num_tokens"], "run": found}, indent=1) + "\n")  # fmt: skip


if __name__ == "__main__":
    main()
