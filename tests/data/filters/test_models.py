"""The steps that ask a trained model: quality_model, perplexity, toxicity."""

import os
import random
from pathlib import Path

import pytest
from pydantic import ValidationError

from ownlm.data.filters import toxicity
from ownlm.data.filters.perplexity import Perplexity
from ownlm.data.filters.quality_model import QualityModel
from ownlm.data.filters.toxicity import Toxicity
from ownlm.data.flow.step import run_alone
from ownlm.data.linear import model as linear
from ownlm.data.linear import train
from ownlm.data.perplexity import model as perplexity
from ownlm.data.perplexity import pieces
from ownlm.errors import ArtifactError, DataError, UsageError
from ownlm.records import Document, Drop

DATA = Path(os.environ.get("OWNLM_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
SUBJECTS = "the old man|a young woman|the teacher|my brother|every child in the village".split("|")
VERBS = "went slowly to|did not like|has often seen|came back from|was looking for".split("|")
PLACES = "the house by the river|a small shop|the school on the hill|the market|the sea".split("|")


def sentence(rng: random.Random) -> str:
    return f"{rng.choice(SUBJECTS)} {rng.choice(VERBS)} {rng.choice(PLACES)}."


def fluent(seed: int, count: int = 300) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(sentence(rng) for _ in range(8)) for _ in range(count)]


def shuffled(text: str) -> str:
    words = text.split()
    random.Random(1).shuffle(words)
    return " ".join(words)


def documents(texts):
    return [Document(f"id{i}", text, f"{i}.txt", meta={"old": i}) for i, text in enumerate(texts)]


@pytest.fixture(scope="module")
def quality(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("quality") / "q.safetensors"
    rows = [(text, True) for text in fluent(0)] + [
        (f"click {i} buy now offer " * 9, False) for i in range(300)
    ]
    linear.write(path, train.train(rows, recipe=train.Recipe(bits=14)))
    return path


@pytest.fixture(scope="module")
def judge(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("perplexity") / "p.safetensors"
    perplexity.write(path, perplexity.train(fluent(0), order=3))
    return path


def test_quality_scores_every_document_and_drops_the_bad(quality):
    good, bad = run_alone(QualityModel(model=quality), documents([fluent(7)[0], "buy now offer click " * 9]))
    assert good.meta["quality_score"] > 0.9 and good.meta["old"] == 0
    assert isinstance(bad, Drop) and bad.reason.startswith("low quality: 0.0")
    scored = run_alone(QualityModel(model=quality, min_score=0.0), documents([fluent(7)[0], "buy now", ""]))
    assert all("quality_score" in document.meta for document in scored)


def test_pareto_keeps_some_of_the_bad_and_is_a_function_of_the_id(quality):
    step = QualityModel(model=quality, keep="pareto", alpha=1.0)
    bad = documents(["buy now offer click " * 9] * 400)
    kept = [out.id for out in run_alone(step, bad) if isinstance(out, Document)]
    assert 0.35 < len(kept) / 400 < 0.65  # P(Pareto(1) > 1 - 0) = 1/2
    alone = [out.id for document in bad for out in run_alone(step, [document]) if isinstance(out, Document)]
    assert alone == kept
    assert len([x for x in run_alone(step, documents(fluent(3, 50))) if isinstance(x, Document)]) >= 45


def test_shuffled_text_is_more_surprising_and_dropped(judge):
    texts = fluent(8, 40)
    model = perplexity.load(judge)
    assert all(model.perplexity(shuffled(text)) > 2 * model.perplexity(text) for text in texts)
    kept = run_alone(Perplexity(model=judge, max_perplexity=20.0), documents(texts))
    assert all(isinstance(out, Document) and out.meta["perplexity"] <= 20 for out in kept)
    dropped = run_alone(Perplexity(model=judge), documents([shuffled(text) for text in texts]))
    assert all(isinstance(out, Drop) and out.reason.startswith("perplexity too high: ") for out in dropped)


def test_noise_and_spelled_words_are_more_surprising_than_words(judge):
    model = perplexity.load(judge)
    rng = random.Random(0)
    noise = "".join(rng.choice("abcdefghij klmnop") for _ in range(400))
    assert model.perplexity(noise) > 50 * model.perplexity(fluent(5)[0])
    assert model.perplexity("") == model.perplexity(" \n ") == 1.0
    assert 1.0 < model.perplexity("漢字" * 100) < float("inf")


def test_buckets(judge):
    good, odd = fluent(8)[0], shuffled(fluent(8)[0])
    low, high = (perplexity.load(judge).perplexity(text) for text in (good, odd))
    bounds = (low + 1, high - 1)
    first, last = run_alone(Perplexity(model=judge, buckets=bounds), documents([good, odd]))
    assert (first.meta["perplexity_bucket"], last.meta["perplexity_bucket"]) == ("head", "tail")
    _, gone = run_alone(
        Perplexity(model=judge, buckets=bounds, keep=("head", "middle")), documents([good, odd])
    )
    assert gone.reason.startswith("perplexity bucket tail: ")
    (low_one,) = run_alone(Perplexity(model=judge, min_perplexity=1e6, max_perplexity=1e9), documents([good]))
    assert low_one.reason.startswith("perplexity too low: ")


def test_pieces_spell_unknown_words_in_place():
    import numpy as np

    from ownlm.data.linear import features

    def hashes(data):
        return features.word_hashes(data, *features.word_edges(data))

    words = np.sort(hashes(b"the cat"))
    found, solid = pieces.ids(b"the dog, the cat", words)
    the, cat = (257 + int(np.searchsorted(words, hashes(word)[0])) for word in (b"the", b"cat"))
    assert found.tolist() == [the, 256, *b"dog", 44, the, cat] and solid == 13
    assert pieces.ids(b"", words)[0].tolist() == [] == pieces.ids(b"   ", words)[0].tolist()


def test_perplexity_file_round_trip_and_damage(judge, tmp_path):
    made = perplexity.train(fluent(0), order=3)
    text = fluent(4)[0]
    assert perplexity.load(judge).perplexity(text) == pytest.approx(made.perplexity(text), rel=1e-5)
    assert list(made.report["percentiles"].values()) == sorted(made.report["percentiles"].values())
    data = judge.read_bytes()
    for number, cut in enumerate((b"", data[:60], data[:-9], data.replace(b"perplexity.1", b"perplexity.7"))):
        path = tmp_path / f"{number}"
        path.write_bytes(cut)
        with pytest.raises(ArtifactError):
            perplexity.load(path)
    with pytest.raises(UsageError):
        perplexity.load(tmp_path / "absent")
    with pytest.raises(DataError):
        perplexity.train([])


def test_toxic_words_are_counted_as_words(tmp_path):
    clean = "Scunthorpe and the assessment of the class, shiitake and cocktails for all. " * 3
    foul, quoted = "you fucking bastard, fuck you, you asshole", "word " * 400 + 'He wrote "bastard" once.'
    outs = run_alone(Toxicity(), documents([clean, foul, quoted, ""]))
    assert outs[0].meta["toxicity_score"] == 0.0 and outs[1].reason.startswith("toxic: 1.0")
    assert 0 < outs[2].meta["toxicity_score"] < 0.5 and outs[3].meta["toxicity_score"] == 0.0
    own = tmp_path / "words.txt"
    own.write_text("# meine\nBlödmann*\n", encoding="utf-8")
    (out,) = run_alone(Toxicity(words=own), documents(["Du bist ein blödmännchen! Blödmannschaft!"]))
    assert isinstance(out, Drop)
    for bad in ("", "two words\n"):
        own.write_text(bad)
        os.utime(own, ns=(1, len(bad)))
        with pytest.raises(DataError):
            run_alone(Toxicity(words=own), documents(["x"]))


def test_toxic_model_is_joined_with_the_words(tmp_path):
    path = tmp_path / "t.safetensors"
    rows = [(f"they are vermin and must vanish {i}", True) for i in range(300)]
    rows += [(f"they are neighbours and may stay {i}", False) for i in range(300)]
    linear.write(path, train.train(rows, "toxic", train.Recipe(bits=12)))
    bad, good = run_alone(
        Toxicity(model=path), documents(["they are vermin and must vanish", "they may stay neighbours"])
    )
    assert isinstance(bad, Drop) and isinstance(good, Document)
    assert toxicity.word_score("", toxicity.word_list(toxicity.DEFAULT_WORDS, 0), 0.7) == 0.0


def test_settings_are_checked(quality):
    wrong = [(QualityModel, {"min_score": 2}), (QualityModel, {"alpha": 0}), (Perplexity, {"buckets": (5, 2)}),
             (Perplexity, {"keep": ()}), (Perplexity, {"keep": ("first",)})]  # fmt: skip
    for step, options in wrong:
        with pytest.raises(ValidationError):
            step(model=quality, **options)
    with pytest.raises(ValidationError):
        Toxicity(threshold=0)
