"""Identifiers in the writing of many countries, and what looks like one and is none."""

from __future__ import annotations

import pytest

from ownlm import errors
from ownlm.data.privacy.finding import IDENTIFIERS, KINDS
from ownlm.data.privacy.planted import Planter
from ownlm.data.privacy.redact import Redactor
from ownlm.runtime import seed

FOUND = [
    ("write to jane.doe+x@mail.example.co.uk now", "EMAIL_ADDRESS", "jane.doe+x@mail.example.co.uk"),
    ("<mailto:o'neil@example.com>", "EMAIL_ADDRESS", "o'neil@example.com"),
    ("é.müller@münchen.de schrieb", "EMAIL_ADDRESS", "é.müller@münchen.de"),
    ("mail ｊｏｅ＠example.com", "EMAIL_ADDRESS", "ｊｏｅ＠example.com"),
    ("mail jo\u200be@exam\u200bple.com", "EMAIL_ADDRESS", "jo\u200be@exam\u200bple.com"),
    ("card 4111 1111 1111 1111.", "CREDIT_CARD", "4111 1111 1111 1111"),
    ("card 4111 1111\n1111 1111", "CREDIT_CARD", "4111 1111\n1111 1111"),
    ("> 4111-1111-\n> 1111-1111", "CREDIT_CARD", "4111-1111-\n> 1111-1111"),
    ("card 41111111111\n11111", "CREDIT_CARD", "41111111111\n11111"),
    ("amex 3782 822463 10005", "CREDIT_CARD", "3782 822463 10005"),
    ("card ٤١١١ ١١١١ ١١١١ ١١١١", "CREDIT_CARD", "٤١١١ ١١١١ ١١١١ ١١١١"),
    ("card 4\u200b111111111111111", "CREDIT_CARD", "4\u200b111111111111111"),
    ("order 12345 paid 4111 1111 1111 1111", "CREDIT_CARD", "4111 1111 1111 1111"),
    ("GB82 WEST 1234 5698 7654 32 please", "IBAN_CODE", "GB82 WEST 1234 5698 7654 32"),
    ("an DE89370400440532013000.", "IBAN_CODE", "DE89370400440532013000"),
    ("IBAN FR1420041010050500013M02606", "IBAN_CODE", "FR1420041010050500013M02606"),
    ("NO93 8601 1117 947", "IBAN_CODE", "NO93 8601 1117 947"),
    ("his number 536-90-4399 is", "US_SSN", "536-90-4399"),
    ("SSN: 536904399", "US_SSN", "536904399"),
    ("NINO AB 12 34 56 C", "NATIONAL_ID", "AB 12 34 56 C"),
    ("DNI 12345678Z", "NATIONAL_ID", "12345678Z"),
    ("NIE X1234567L", "NATIONAL_ID", "X1234567L"),
    ("RSSMRA85T10A562S", "NATIONAL_ID", "RSSMRA85T10A562S"),
    ("Aadhaar 2341 2341 2346", "NATIONAL_ID", "2341 2341 2346"),
    ("Steuer-ID 86 095 742 719", "NATIONAL_ID", "86 095 742 719"),
    ("sécu 2 55 08 14 168 025 38", "NATIONAL_ID", "2 55 08 14 168 025 38"),
    ("driver's license number: D1234567", "US_DRIVER_LICENSE", "D1234567"),
    ("passport no. X12345678", "PASSPORT", "X12345678"),
    ("host 192.168.10.44 is down", "IP_ADDRESS", "192.168.10.44"),
    ("http://10.11.12.13:8080/x", "IP_ADDRESS", "10.11.12.13"),
    ("from 2001:db8:85a3::8a2e:370:7334 to", "IP_ADDRESS", "2001:db8:85a3::8a2e:370:7334"),
    ("mac 3c:22:fb:9a:10:4e", "MAC_ADDRESS", "3c:22:fb:9a:10:4e"),
    ("pay 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "CRYPTO", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
    (
        "pay bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        "CRYPTO",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    ),
    ("call (415) 555-2671 now", "PHONE_NUMBER", "(415) 555-2671"),
    ("+44 20 7946 0958", "PHONE_NUMBER", "+44 20 7946 0958"),
    ("Tél : 01 42 68 53 00", "PHONE_NUMBER", "01 42 68 53 00"),
    ("Tel. 030 / 12345678", "PHONE_NUMBER", "030 / 12345678"),
    ("móvil 612 345 678", "PHONE_NUMBER", "612 345 678"),
    ("+91 98765 43210", "PHONE_NUMBER", "+91 98765 43210"),
    ("+46 (0)8 928 571 38", "PHONE_NUMBER", "+46 (0)8 928 571 38"),
    ("415-555-2671 x204", "PHONE_NUMBER", "415-555-2671 x204"),
    ("password = hunter2x", "SECRET", "hunter2x"),
    ("postgres://bob:s3cr3tpw@db:5432/x", "SECRET", "s3cr3tpw"),
    ('"client_secret": "a8Fk39sLq0Zx7Yt2"', "SECRET", "a8Fk39sLq0Zx7Yt2"),
    ("Authorization: Bearer a8Fk39sLq0Zx7Yt2", "SECRET", "a8Fk39sLq0Zx7Yt2"),
]
LEFT = [
    "Version 10.4.2.1 and Firefox/115.0.2.1 and numpy==1.26.4.1",
    "at 127.0.0.1:8000 or 0.0.0.0, mask 255.255.255.0, ::1",
    "std::vector<a::b> and dead::beef and 12:30:45",
    "ISBN 978-3-16-148410-0 and ISBN 0-306-40615-2",
    "commit 3f786850e387550fdab836ed7e6dc881de23001b",
    "id 123e4567-e89b-12d3-a456-426614174000",
    "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "in 1990 1991 1992 1993 and 2001-2005",
    "on 2024-05-17 08:30:00 and 17.05.2024 and 05/17/2024",
    "population 12 345 678, total 1,234,567.89 or 3.14159265358979",
    "@app.route('/x') and x @ y and icon@2x.png and git@github.com:a/b.git",
    "card 4111 1111 1111 1112 has a wrong digit",
    "000-12-3456 and 666-12-3456 and 123-00-4567 are no numbers of anyone",
    "GB82 WEST 1234 5698 7654 33 has wrong check digits",
    "password = get_password(); token: str; api_key = os.environ['KEY_12']",
    "api_key = 'your-api-key-here-123' and AKIAXXXXXXXXXXXXXXXX",
    "pages 1234-1240, Order 202411170001, ticket #1234567890",
    "27180468\n20171223 and 3552 3534 3375 4530 3515 3479 and count 10 11 12 13 14 and 28601 28601",
    "mysql://user:password@host and {{username}}:{{password}}@host and __version__ = '10.5.1.2'",
    "a timestamp 1700000000000 and 20240517083000",
    "0123456789 and 1234567890 and 0.0000001 and 10000000",
]


@pytest.mark.parametrize(("text", "kind", "value"), FOUND, ids=[value for _, _, value in FOUND])
def test_found(text: str, kind: str, value: str) -> None:
    found = [(f.kind, text[f.start : f.end]) for f in Redactor().find(text)]
    assert (kind, value) in found, found
    assert len(found) == 1, found


@pytest.mark.parametrize("text", LEFT)
def test_left_alone(text: str) -> None:
    assert Redactor().redact(text).text == text


@pytest.mark.parametrize(
    "kind", ["EMAIL_ADDRESS", "CREDIT_CARD", "IBAN_CODE", "US_SSN", "PHONE_NUMBER", "IP_ADDRESS", "SECRET"]
)
def test_planted_recall(kind: str) -> None:
    planter = Planter(seed.generator(11, "test", kind))
    redactor = Redactor()
    cases = [planter.planted(kind) for _ in range(150)]
    missed = [text for text, marked in cases if not set(marked) <= set(redactor.find(text))]
    assert len(missed) <= 1, missed


def test_decoys_are_left_alone() -> None:
    planter = Planter(seed.generator(12, "test", "decoys"))
    redactor = Redactor()
    changed = [text for text in (planter.decoy() for _ in range(400)) if redactor.find(text)]
    assert len(changed) <= 4, changed


def test_obfuscated_mail_is_an_option() -> None:
    text = "write to jane (at) example (dot) org or joe at example dot com; meet at noon dot."
    assert Redactor().find(text) == []
    redacted = Redactor(obfuscated=True).redact(text)
    assert redacted.text == "write to [EMAIL] or [EMAIL]; meet at noon dot."


def test_private_key_of_any_length() -> None:
    body = "\n".join("MIIEpAIBAAKCAQEA7" + "k9Zq" * 11 for _ in range(120))
    text = f"before\n-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----\nafter"
    redacted = Redactor().redact(text).text
    assert redacted.startswith("before\n[SECRET]") and redacted.endswith("[SECRET]\nafter")
    assert "MIIE" not in redacted


def test_numbers_are_those_of_the_value() -> None:
    text = "a@x.org wrote to b@x.org, then A@X.org again."
    assert Redactor(numbered=True).redact(text).text == "[EMAIL_1] wrote to [EMAIL_2], then [EMAIL_1] again."


def test_only_the_asked_kinds_and_offsets_lead_back() -> None:
    text = "Mail a@x.org, card 4111 1111 1111 1111, call +44 20 7946 0958."
    redacted = Redactor(["CREDIT_CARD"]).redact(text)
    assert redacted.text == "Mail a@x.org, card [CARD], call +44 20 7946 0958."
    whole = Redactor().redact(text)
    rebuilt, last = "", 0
    for one in whole.replaced:
        rebuilt += text[last : one.start]
        assert len(rebuilt) == one.new_start
        rebuilt += one.placeholder
        last = one.end
    assert rebuilt + text[last:] == whole.text
    assert whole.counts == {"EMAIL_ADDRESS": 1, "CREDIT_CARD": 1, "PHONE_NUMBER": 1}


def test_redacting_twice_changes_nothing() -> None:
    for text, _, _ in FOUND:
        once = Redactor().redact(text).text
        assert Redactor().redact(once).text == once


def test_unknown_kind() -> None:
    with pytest.raises(errors.UsageError, match="SHOE_SIZE"):
        Redactor(["SHOE_SIZE"])
    assert set(IDENTIFIERS) < set(KINDS)
