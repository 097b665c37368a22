"""API keys, tokens, passwords in assignments and private keys: by the issuer's prefix, else by name and entropy.

Hashes and identifiers that open nothing (git commits, UUIDs, checksums, public keys) are left alone unless they are
assigned to a name such as `secret`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from ownlm.data.privacy.finding import Finding

_PREFIXED = (
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}",  # AWS access key id
    r"gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_[A-Za-z0-9_]{22,255}",  # GitHub
    r"gl(?:pat|rt|ptt|dt)-[\w-]{20,64}",  # GitLab
    r"xox[abeoprs]-[A-Za-z0-9-]{10,250}|xapp-\d-[A-Za-z0-9-]{10,250}",  # Slack
    r"sk-(?:ant-|proj-|or-|svcacct-)?[A-Za-z0-9_-]{20,200}",  # OpenAI, Anthropic, OpenRouter
    r"[srp]k_(?:live|test)_[A-Za-z0-9]{10,250}|whsec_[A-Za-z0-9+/=]{20,80}",  # Stripe
    r"AIza[\w-]{35}|ya29\.[\w-]{20,500}|GOCSPX-[\w-]{20,40}",  # Google
    r"hf_[A-Za-z0-9]{30,40}|npm_[A-Za-z0-9]{36}|pypi-AgE[\w-]{50,300}|dckr_pat_[\w-]{20,60}",  # registries
    r"SG\.[\w-]{16,32}\.[\w-]{32,64}|key-[0-9a-f]{32}|(?:SK|AC)[0-9a-f]{32}",  # SendGrid, Mailgun, Twilio
    r"do[opr]_v1_[0-9a-f]{64}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|sq0[a-z]{3}-[\w-]{22,43}",  # cloud, Shopify, Square
    r"EAA[A-Za-z0-9]{60,300}|[MN][A-Za-z0-9_-]{23,27}\.[\w-]{6}\.[\w-]{27,38}|\d{8,10}:AA[\w-]{33}",  # social networks
    r"eyJ[\w-]{8,4000}\.eyJ[\w-]{4,4000}\.[\w-]{0,1000}",  # JSON web token
    r"lin_api_[A-Za-z0-9]{32,48}|nvapi-[\w-]{40,80}|gsk_[A-Za-z0-9]{40,60}|r8_[A-Za-z0-9]{30,40}|pplx-[A-Za-z0-9]{40,60}",
    r"AGE-SECRET-KEY-1[0-9A-Z]{58}|dapi[0-9a-f]{32}|PMAK-[0-9a-f]{24}-[0-9a-f]{34}|sntrys_[\w=+/.-]{40,200}",
)
PREFIXED = re.compile(rf"(?<![\w-])(?:{'|'.join(_PREFIXED)})(?![\w])")
STARTS = (  # noqa: SIM905
    "AKIA ASIA ABIA ACCA gh _pat_ gl xox xapp sk- k_live k_test whsec AIza ya29 GOCSPX hf_ npm_ pypi- SG. key- SK AC _v1_ shp "
    "sq0 EAA :AA eyJ lin_api nvapi gsk_ r8_ pplx- AGE- dapi PMAK sntrys"
).split()
_LONG = re.compile(r"[\w/+=.:-]{20}")
CREDENTIALS = re.compile(r"://[^\s:/@]{0,64}:(?P<value>[^\s:/@]{1,128})@")  # scheme://user:password@host
WEBHOOK = re.compile(
    r"https://(?:hooks\.slack\.com/services/|discord(?:app)?\.com/api/webhooks/)(?P<value>[\w/-]{20,200})"
)
ASSIGNED = re.compile(
    r"(?P<name>api[_-]?key|apikey|secret(?:[_-]?(?:access[_-]?)?key)?|client[_-]?secret|access[_-]?(?:key|token)|auth[_-]?token"
    r"|refresh[_-]?token|token|account[_-]?key|private[_-]?key|passwords?|passwd|pwd|passphrase|bearer|authorization)"
    r"[\"'\]]{0,2}(?:\s{0,2}(?::=|=>|[:=])\s{0,2}|\s{1,2}(?:is\s{1,2})?|=)(?:(?:Bearer|Basic|Token)\s)?(?P<quote>[\"'`]?)"
    r"(?P<value>[^\s\"'`,;<>(){}\[\]|]{6,400})",
    re.IGNORECASE,
)
NAMES = re.compile(r"key|secret|token|passw|pwd|passphrase|bearer|authorization", re.IGNORECASE)
PEM = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
)
PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PASSWORD = re.compile(r"passw|pwd|passphrase", re.IGNORECASE)
_EXAMPLE = re.compile(
    r"x{4,}|\*{3,}|\.{3}|your|example|placeholder|changeme|redacted|\$\{?\w|%\w|<|[{}\[\]]|^\W*(?:pass|password|passwd|pwd|secret|token|pw)\W*$",
    re.IGNORECASE,
)


def entropy(text: str) -> float:
    """Shannon entropy of the characters, in bits per character."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())


def api_keys(text: str) -> Iterator[Finding]:
    """Everything of kind SECRET but private keys that run over several pieces of a stream (see redact.py)."""
    if _LONG.search(text) and any(start in text for start in STARTS):
        for match in PREFIXED.finditer(text):
            found = match.group()
            if entropy(found) >= 2.5 and not _EXAMPLE.search(found):
                yield Finding(match.start(), match.end(), "SECRET")
    if "://" in text:
        for match in (*CREDENTIALS.finditer(text), *WEBHOOK.finditer(text)):
            if not _EXAMPLE.search(match["value"]):
                yield Finding(match.start("value"), match.end("value"), "SECRET")
    if NAMES.search(text):
        for match in ASSIGNED.finditer(text):
            if _is_secret(match["name"], match["quote"], match["value"]):
                yield Finding(
                    match.start("value"), match.start("value") + len(match["value"].rstrip(".:")), "SECRET"
                )


def _is_secret(name: str, quote: str, value: str) -> bool:
    """A password: quoted or with a digit or sign in it. A key: 16 characters or more, mixed, not a word or a path."""
    value = value.rstrip(".:")
    if _EXAMPLE.search(value) or len(value) < 6:
        return False
    digits = sum(c.isdigit() for c in value)
    letters = sum(c.isalpha() for c in value)
    if _PASSWORD.search(name):
        return digits > 0 and letters > 0 and not re.fullmatch(r"[a-z_][\w.]*\.\w+", value)
    return len(value) >= 16 and digits > 1 and letters > 1 and entropy(value) >= 3.0 and value.count("/") < 4
