from ownlm.rag.ranking import names, one_slip
from ownlm.rag.terms import content_words, forms, terms


def test_identifiers_give_themselves_and_their_parts():
    assert forms("json.JSONDecoder.raw_decode") == ("json.jsondecoder.raw_decode", "json", "jsondecoder", "json", "decod", "raw_decode", "raw", "decod")  # fmt: skip
    assert forms("v-if") == ("v-if", "v", "if")
    assert forms("getHTTPHeader") == ("gethttpheader", "get", "http", "header")
    assert forms("_datetime.date") == ("datetime.date", "datetim", "date")
    assert forms("std::vec::Vec") == ("std.vec.vec", "std", "vec", "vec")


def test_words_are_stemmed_alike():
    assert terms("Connections connected") == ["connect", "connect"]
    assert terms("today's Holmes’s") == terms("today Holmes")


def test_chinese_gives_pairs():
    assert terms("多层感知机") == ["多层", "层感", "感知", "知机"]
    assert terms("词") == ["词"]


def test_content_words():
    assert content_words("What does textwrap.shorten return?") == ["textwrap.shorten", "return"]
    assert content_words("What is `with`?") == ["with"]
    assert content_words("how do I do that") == ["how", "do", "I", "that"]  # nothing else to go by
    assert content_words("What happens in Chapter I?") == ["happens", "Chapter", "I"]
    assert content_words("") == []


def test_names_in_a_question():
    found = names("What are computed properties in os.path.join?")
    assert "computed properties" in found and "path.join" in found and "what are" not in found


def test_one_slip():
    assert (
        one_slip("smoething", "something")
        and one_slip("docment", "document")
        and one_slip("documennt", "document")
    )
    assert one_slip("dokument", "document") and not one_slip("document", "document")
    assert not one_slip("monument", "document") and not one_slip("cat", "car")
