"""Reading web archives beside warcio and fastwarc: records per second, plain and gzip, and whether all agree.

    python bench/warc.py --peers /path/to/other/python --out bench/results/warc-$(date +%F).json

An archive is made of the pages of OWNLM_TEST_DATA/web_extraction (or of generated pages): per page a request and a
response record, every fourth body chunked, every third compressed. Each contestant walks over all records and takes
the block of each response in a process of its own (--peers is an interpreter that has warcio and fastwarc); for
warcio and fastwarc that is what their own documentation shows, with HTTP parsing on. "digest" is over the raw blocks
as stored: equal digests mean equal records. `ownlm documents` also undoes encodings, verifies SHA-1, and decodes.
"scan" is what cutting an archive into parts of 1 MiB costs. Seconds are of processor time, since others may use the
machine. One JSON line per result; medians of --runs.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

PEER = """
import hashlib, json, sys, time
name, path = sys.argv[1:3]
digest = hashlib.sha256(); count = responses = num_bytes = 0
start = time.process_time()
if name == "warcio":
    from warcio.archiveiterator import ArchiveIterator
    with open(path, "rb") as file:
        for record in ArchiveIterator(file):
            count += 1
            if record.rec_type == "response":
                responses += 1
                data = record.raw_stream.read()
                num_bytes += len(data); digest.update(data)
else:
    from fastwarc.warc import ArchiveIterator, WarcRecordType
    with open(path, "rb") as file:
        for record in ArchiveIterator(file, parse_http=True):
            count += 1
            if record.record_type == WarcRecordType.response:
                responses += 1
                data = record.reader.read()
                num_bytes += len(data); digest.update(data)
print(json.dumps({"seconds": time.process_time() - start, "records": count, "responses": responses,
                  "bytes": num_bytes, "digest": digest.hexdigest()[:16]}))
"""

OWN = """
import hashlib, json, sys, time
from pathlib import Path
from ownlm.data.limits import Limits
from ownlm.data.sources.part import Source, read_unit, split, units
from ownlm.data.sources import http_message, warc_file
name, path = sys.argv[1:3]
digest = hashlib.sha256(); count = responses = num_bytes = 0
limits = Limits()
start = time.process_time()
if name == "ownlm records":
    with open(path, "rb") as file:
        for record in warc_file.records(file, "gz" if path.endswith("gz") else "", "a", limits):
            count += 1
            if record.headers["warc-type"] == "response":
                responses += 1
                data = http_message.split_head(record.block)[1]
                num_bytes += len(data); digest.update(data)
else:
    parts = split(Source(path=path), 1 << 20)
    if name == "ownlm scan":
        count = sum(1 for part in parts)
    else:
        for part in parts:
            for unit in units(part, limits):
                for item in read_unit(unit, limits):
                    count += 1
                    responses += hasattr(item, "text")
                    num_bytes += len(getattr(item, "text", ""))
print(json.dumps({"seconds": time.process_time() - start, "records": count, "responses": responses,
                  "bytes": num_bytes, "digest": digest.hexdigest()[:16]}))
"""


def pages() -> Iterator[bytes]:
    folder = Path(os.environ.get("OWNLM_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    found = sorted((folder / "web_extraction").rglob("*.html.gz"))
    if found:
        for path in found:
            yield gzip.decompress(path.read_bytes())
        return
    rng = random.Random(0)
    for _ in range(100):
        words = " ".join("".join(rng.choices("abcdefghijklm", k=rng.randint(2, 9))) for _ in range(6000))
        yield f"<html><body><p>{words}</p></body></html>".encode()


def record(kind: str, url: str, content_type: str, block: bytes, extra: str = "") -> bytes:
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2024-05-18T01:58:10Z\r\n"
        f"WARC-Record-ID: <urn:uuid:{hashlib.md5(block, usedforsecurity=False).hexdigest()}>\r\n{extra}"
        f"Content-Type: {content_type}\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def make(path: Path, num_pages: int, compressed: bool) -> int:
    """Writes the archive and returns its plain bytes."""
    bodies = list(pages())
    size = 0
    with open(path, "wb") as file:
        for number in range(num_pages):
            page, url = bodies[number % len(bodies)], f"http://example.org/{number}"
            request = f"GET /{number} HTTP/1.1\r\nHost: example.org\r\n\r\n".encode()
            body, headers = page, "Content-Type: text/html\r\nServer: x\r\nX-A: 1\r\nX-B: 2\r\n"
            if number % 3 == 0:
                body, headers = gzip.compress(body, 6, mtime=0), headers + "Content-Encoding: gzip\r\n"
            if number % 4 == 0:
                chunks = [body[at : at + 8000] for at in range(0, len(body), 8000)]
                body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
                headers += "Transfer-Encoding: chunked\r\n"
            sha1 = base64.b32encode(hashlib.sha1(body, usedforsecurity=False).digest()).decode()
            block = f"HTTP/1.1 200 OK\r\n{headers}\r\n".encode() + body
            for data in (
                record("request", url, "application/http; msgtype=request", request),
                record("response", url, "application/http; msgtype=response", block,
                       f"WARC-Payload-Digest: sha1:{sha1}\r\n"),
            ):  # fmt: skip
                size += len(data)
                packer = zlib.compressobj(6, zlib.DEFLATED, 31)
                file.write(packer.compress(data) + packer.flush() if compressed else data)
    return size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--peers", help="a Python interpreter that has warcio and fastwarc")
    parser.add_argument("--pages", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    contestants = [(name, sys.executable, OWN) for name in ("ownlm records", "ownlm documents", "ownlm scan")]
    if arguments.peers:
        contestants += [(name, arguments.peers, PEER) for name in ("warcio", "fastwarc")]
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("warc", "warc.gz"):
            path = Path(folder) / f"bench.{suffix}"
            size = make(path, arguments.pages, suffix.endswith("gz"))
            results: dict[str, list[dict[str, float]]] = {name: [] for name, _, _ in contestants}
            for _ in range(arguments.runs):
                for name, python, program in contestants:
                    done = subprocess.run(
                        [python, "-c", program, name, str(path)], capture_output=True, text=True, check=False
                    )
                    if done.returncode:
                        print(json.dumps({"bench": "warc", "contestant": name, "failed": done.stderr[-300:]}))
                        continue
                    results[name].append(json.loads(done.stdout))
            for name, runs in results.items():
                if runs:
                    seconds = statistics.median(run["seconds"] for run in runs)
                    lines.append({
                        "bench": "warc", "file": suffix, "contestant": name, **runs[0], "seconds": round(seconds, 3),
                        "records_per_second": round(2 * arguments.pages / seconds),
                        "megabytes_per_second": round(size / seconds / 1e6, 1), "runs": len(runs),
                    })  # fmt: skip
                    print(json.dumps(lines[-1]), flush=True)
    if arguments.out:
        arguments.out.write_text("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    main()
