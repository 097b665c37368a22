"""Runs Presidio's analyzer over texts, with its own interpreter: PEER_PYTHON bench/pii_peers.py SPACY_MODEL < texts.json

Reads a JSON list of texts, writes {"version", "seconds", "found": per text a list of [start, end, kind, score]}; seconds
are of the processor, without loading. Called by bench/pii.py.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time

from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NlpEngineProvider


def main() -> None:
    model = sys.argv[1]
    provider = NlpEngineProvider(
        nlp_configuration={"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": model}]}
    )
    analyzer = AnalyzerEngine(nlp_engine=provider.create_engine(), supported_languages=["en"])
    texts = json.load(sys.stdin)
    analyzer.analyze("My name is Jane.", language="en")
    start = time.process_time()
    found = [
        [[one.start, one.end, one.entity_type, one.score] for one in analyzer.analyze(text, language="en")]
        for text in texts
    ]
    seconds = time.process_time() - start
    version = f"presidio-analyzer {importlib.metadata.version('presidio-analyzer')}, {model}"
    json.dump({"version": version, "seconds": seconds, "found": found}, sys.stdout)


if __name__ == "__main__":
    main()
