"""Check digits that tell a real number from a row of digits. Every function takes plain ASCII without separators."""

from __future__ import annotations

import hashlib

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def luhn(digits: str) -> bool:
    """ISO/IEC 7812 annex B: payment cards."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        total += _DOUBLED[int(digit)] if place % 2 else int(digit)
    return total % 10 == 0


def mod97(iban: str) -> bool:
    """ISO 7064 MOD 97-10 as used by ISO 13616: the first four characters go to the end, letters count from 10."""
    return int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97 == 1


def _dihedral(a: int, b: int) -> int:
    """Product in the dihedral group of order 10 (rotations 0-4, reflections 5-9)."""
    if a < 5:
        return (a + b) % 5 if b < 5 else 5 + (a + b - 5) % 5
    return 5 + (a - 5 - b) % 5 if b < 5 else (a - b) % 5


def verhoeff(digits: str) -> bool:
    """Verhoeff 1969: India's Aadhaar."""
    shuffle = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
    check = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit)
        for _ in range(place % 8):
            value = shuffle[value]
        check = _dihedral(check, value)
    return check == 0


def base58check(address: str) -> bool:
    """Bitcoin's legacy addresses: 25 bytes of which the last four are the head of a double SHA-256."""
    number = 0
    for character in address:
        place = BASE58.find(character)
        if place < 0:
            return False
        number = number * 58 + place
    if number >= 1 << 200:
        return False
    data = number.to_bytes(25, "big")
    return hashlib.sha256(hashlib.sha256(data[:21]).digest()).digest()[:4] == data[21:]


def bech32(address: str) -> bool:
    """BIP 173 and BIP 350 (bech32m): Bitcoin's segwit addresses, lower or upper case but not both."""
    address = address.lower()
    prefix, _, data = address.rpartition("1")
    if not prefix or len(data) < 6 or any(c not in BECH32 for c in data):
        return False
    values = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    check = 1
    for value in values + [BECH32.index(c) for c in data]:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> bit & 1 else 0
    return check in (1, 0x2BC830A3)


def spanish_letter(number: str) -> str:
    """The control letter of a Spanish DNI: the number modulo 23."""
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23]


def french_key(number: str) -> str:
    """The two-digit key of a French NIR (13 digits; Corsica's 2A and 2B count as 19 and 18)."""
    return f"{97 - int(number.replace('2A', '19').replace('2B', '18')) % 97:02d}"


def italian_letter(code: str) -> str:
    """The last letter of an Italian codice fiscale, from its first 15 characters."""
    odd = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
    total = 0
    for place, character in enumerate(code):
        value = int(character) if character.isdigit() else ord(character) - ord("A")
        total += value if place % 2 else odd[value]
    return chr(ord("A") + total % 26)


def german_tax(digits: str) -> bool:
    """ISO 7064 MOD 11,10 over the 11 digits of a German Steuer-ID."""
    product = 10
    for digit in digits[:10]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(digits[10])
