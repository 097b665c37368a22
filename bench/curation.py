"""A whole pipeline beside datatrove's executor: JSON lines in, Gopher repetition, Gopher quality and FineWeb rules, JSON lines out.

    python bench/curation.py --peers /path/to/venv/bin/python --out bench/results/curation-$(date +%F).json

Both sides run as processes of their own, with 1 and with 2 workers, over the same files (documents of the data folder
OWNLM_TEST_DATA, cut at 3,000 characters, in 8 files). Seconds are wall time of the whole command; ownlm also writes its
report. One JSON line per result.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PEER = """
import sys
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
data, out, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])
LocalPipelineExecutor([JsonlReader(data), GopherRepetitionFilter(), GopherQualityFilter(), FineWebQualityFilter(),
                       JsonlWriter(out + "/kept")], tasks=8, workers=workers, logging_dir=out + "/logs").run()
"""
PIPELINE = (
    "name: bench\nread: {data}\nsteps: [gopher_repetition, gopher_quality, fineweb]\npart_megabytes: 1\n"
)


def write_documents(folder: Path, count: int) -> tuple[int, int]:
    """Documents and bytes of text."""
    source = Path(os.environ.get("OWNLM_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    texts: list[str] = []
    for path in sorted(source.glob("text_techdocs/*.en.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            texts += [json.loads(line)["text"][:3000] for line in file]
    for path in sorted(source.glob("text_books/*.txt.gz")):
        with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
            text = file.read()
        texts += [text[at : at + 3000] for at in range(0, len(text), 3000)]
    texts = texts[:count]
    folder.mkdir()
    for number in range(8):
        rows = "".join(
            json.dumps({"text": text, "id": str(n)}) + "\n" for n, text in enumerate(texts) if n % 8 == number
        )
        (folder / f"{number}.jsonl").write_text(rows, encoding="utf-8")
    return len(texts), sum(len(text.encode()) for text in texts)


def seconds(command: list[str], out: Path) -> float:
    shutil.rmtree(out, ignore_errors=True)
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peers", type=Path, help="interpreter that has datatrove; without it only ownlm runs"
    )
    parser.add_argument("--documents", type=int, default=4000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        data, out = Path(folder) / "data", Path(folder) / "out"
        count, size = write_documents(data, arguments.documents)
        (Path(folder) / "p.yaml").write_text(PIPELINE.format(data=data))
        for workers in (1, 2):
            commands = {"ownlm": [sys.executable, "-m", "ownlm.cli.main", "data", "run", f"{folder}/p.yaml", "--out", str(out),
                                  "--workers", str(workers)]}  # fmt: skip
            if arguments.peers:
                commands["datatrove"] = [str(arguments.peers), "-c", PEER, str(data), str(out), str(workers)]
            for name, command in commands.items():
                runs = 1 if name == "datatrove" else arguments.runs  # a minute each
                took = statistics.median(seconds(command, out) for _ in range(runs))
                results.append({"what": "pipeline of three filters", "who": name, "workers": workers, "documents": count, "megabytes": round(size / 1e6, 2),
                                "seconds": round(took, 2), "documents_per_second": round(count / took, 1), "megabytes_per_second": round(size / took / 1e6, 2)})  # fmt: skip
                print(json.dumps(results[-1]), flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
