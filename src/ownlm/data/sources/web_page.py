"""A record of a web archive as a document: a page with its tags (response), or text (conversion, WAT metadata).

Pages are not extracted here: they come out as HTML with meta "format": "html" for the step `extract`. Whatever is no
text with status 200 is a Drop whose category says what it was.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from ownlm.data.encoding import decode, is_binary
from ownlm.data.limits import Limits, Unusable
from ownlm.data.rows import SAMPLE_CHARACTERS, document_id
from ownlm.data.sources import http_message
from ownlm.records import Document, Drop

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_HTML = frozenset({"text/html", "application/xhtml+xml"})
_TEXT = {"text/plain": "text", "text/markdown": "markdown", "text/x-rst": "rst"}
_LOOKS_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body|title|meta|div|p|table)\b", re.IGNORECASE)
_MOST_LINKS = 1000


def read_record(
    headers: Mapping[str, str], block: bytes, place: str, licence: str, verify: bool, limits: Limits
) -> Document | Drop:
    """headers: of the record, names in lower case. Raises nothing: what cannot be used is a Drop."""
    url = headers.get("warc-target-uri", "").strip("<>") or place
    try:
        kind = headers.get("warc-type", "").lower()
        content_type = headers.get("content-type", "").lower()
        if kind == "response" and content_type.startswith("application/http"):
            return _response(headers, block, url, place, licence, verify, limits)
        if kind == "metadata" and content_type.startswith("application/json"):
            return _wat(headers, block, url, place, licence)
        if kind in ("conversion", "resource", "response"):
            if verify:
                _verify(headers.get("warc-payload-digest") or headers.get("warc-block-digest", ""), (block,))
            return _document(headers, block, content_type, url, place, licence, {})
        raise Unusable(f"not a page: {kind[:20] or 'unknown'} record")
    except Unusable as error:
        return Drop(url, "read", str(error), block[:SAMPLE_CHARACTERS].decode("utf-8", "replace"))


def _response(
    headers: Mapping[str, str], block: bytes, url: str, place: str, licence: str, verify: bool, limits: Limits
) -> Document | Drop:
    answer = http_message.parse(block, limits)
    if answer.status != 200:
        raise Unusable(f"HTTP status: {answer.status}")
    if verify:
        stored = headers.get("warc-payload-digest", "")
        _verify(stored, (answer.raw, http_message.dechunked(answer.raw), answer.body))
    content_type = answer.headers.get("content-type", "")
    meta: dict[str, Any] = {"http_status": answer.status}
    if "last-modified" in answer.headers:
        meta["last_modified"] = answer.headers["last-modified"][:80]
    for name, values in answer.opt_outs.items():
        meta[name.replace("-", "_")] = values if len(values) > 1 else values[0]
    return _document(headers, answer.body, content_type, url, place, licence, meta)


def _verify(stated: str, bodies: tuple[bytes, ...]) -> None:
    """Raises Unusable when a SHA-1 is stated and is that of none of the forms of the payload."""
    name, _, value = stated.partition(":")
    if name.strip().lower() != "sha1" or not value:
        return
    value = value.strip()
    for body in dict.fromkeys(bodies):
        digest = hashlib.sha1(body, usedforsecurity=False).digest()
        if value.upper() == base64.b32encode(digest).decode() or value.lower() == digest.hex():
            return
    raise Unusable("payload differs from its digest")


def _document(
    headers: Mapping[str, str],
    body: bytes,
    content_type: str,
    url: str,
    place: str,
    licence: str,
    meta: dict[str, Any],
) -> Document:
    media = content_type.partition(";")[0].strip().lower()
    form = _form(headers.get("warc-identified-payload-type", "").lower() or media, body)
    charset = _CHARSET.search(content_type)
    decoded = decode(body, charset.group(1) if charset else "")
    if not decoded.text.strip():
        raise Unusable("empty")
    meta = {"format": form, "url": url, "content_type": media, "place": place, **_stated(headers), **meta}
    if decoded.encoding != "utf-8":
        meta["encoding"] = decoded.encoding
    if decoded.num_replaced:
        meta["num_replaced"] = decoded.num_replaced
    return Document(_id(headers, url, decoded.text), decoded.text, url, licence, meta)


def _form(media: str, body: bytes) -> str:
    """Raises Unusable for what is not text; bytes decide when the server says nothing or says it wrong."""
    if media in _HTML or media in _TEXT or media in ("", "application/octet-stream", "unk"):
        if is_binary(body):
            raise Unusable(f"not text: binary content stated as {media or 'nothing'}")
        if media in _TEXT:
            return _TEXT[media]
        return "html" if media in _HTML or _LOOKS_HTML.search(body, 0, 4096) else "text"
    raise Unusable(f"not text: {media[:60]}")


def _stated(headers: Mapping[str, str]) -> dict[str, Any]:
    names = {
        "warc-date": "date", "warc-record-id": "record_id", "warc-truncated": "truncated",
        "warc-identified-content-language": "identified_languages",
    }  # fmt: skip
    return {key: headers[name][:500] for name, key in names.items() if headers.get(name)}


def _id(headers: Mapping[str, str], url: str, text: str) -> str:
    """The record's own id takes part, so that two captures of one page have two ids."""
    return document_id(f"{headers.get('warc-record-id', '')} {url}", text)


def _wat(headers: Mapping[str, str], block: bytes, url: str, place: str, licence: str) -> Document | Drop:
    """Title, description and link texts of a page; the addresses of its links in meta."""
    try:
        envelope = json.loads(block)["Envelope"]
        answer = envelope["Payload-Metadata"]["HTTP-Response-Metadata"]
        page = answer.get("HTML-Metadata", {})
        url = envelope["WARC-Header-Metadata"].get("WARC-Target-URI", url)
        head = page.get("Head", {}) if isinstance(page, dict) else {}
        links = [link for link in page.get("Links", []) if isinstance(link, dict)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unusable(f"not a page: metadata without an HTTP response ({type(error).__name__})") from error
    title = str(head.get("Title") or "").strip()
    descriptions = [
        str(item.get("content", ""))
        for item in head.get("Metas", [])
        if isinstance(item, dict) and item.get("name") == "description"
    ]
    texts = [str(link["text"]).strip() for link in links if link.get("text")]
    text = "\n".join(line for line in (title, *descriptions, *texts) if line)
    if not text:
        raise Unusable("empty")
    addresses = [str(link["url"])[:2000] for link in links if link.get("url")]
    meta = {
        "format": "wat", "url": url, "title": title, "place": place, "num_links": len(addresses),
        "links": addresses[:_MOST_LINKS], **_stated(headers),
    }  # fmt: skip
    return Document(_id(headers, url, text), text, url, licence, meta)
