"""Check digits against published examples, and against every single wrong digit."""

from __future__ import annotations

import pytest

from ownlm.data.privacy import checksums


@pytest.mark.parametrize("number", ["4111111111111111", "378282246310005", "6011111111111117", "79927398713"])
def test_luhn_finds_every_single_wrong_digit(number: str) -> None:
    assert checksums.luhn(number)
    for place in range(len(number)):
        for digit in "0123456789":
            changed = number[:place] + digit + number[place + 1 :]
            assert checksums.luhn(changed) == (changed == number)


@pytest.mark.parametrize("number", ["236", "234123412346"])
def test_verhoeff_finds_every_single_wrong_digit_and_swap(number: str) -> None:
    assert checksums.verhoeff(number)
    for place in range(len(number)):
        for digit in "0123456789":
            changed = number[:place] + digit + number[place + 1 :]
            assert checksums.verhoeff(changed) == (changed == number)
        swapped = number[:place] + number[place : place + 2][::-1] + number[place + 2 :]
        assert checksums.verhoeff(swapped) == (swapped == number)


def test_published_examples() -> None:
    assert checksums.mod97("GB82WEST12345698765432") and not checksums.mod97("GB82WEST12345698765423")
    assert checksums.base58check("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa")
    assert not checksums.base58check("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb")
    assert checksums.bech32("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")  # BIP 173
    assert checksums.bech32("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0")  # BIP 350
    assert not checksums.bech32("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5")
    assert checksums.spanish_letter("12345678") == "Z"
    assert checksums.french_key("2550814168025") == "38"
    assert checksums.italian_letter("RSSMRA85T10A562") == "S"
    assert checksums.german_tax("86095742719") and not checksums.german_tax("86095742718")
