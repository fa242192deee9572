"""Sealed cookies: opened by whoever has a key, for one use, for a while, and made up by nobody."""

from __future__ import annotations

import base64
import json
import time

import pytest

from saga_service.encryption.keys import fresh_key
from saga_service.http.access.sealed_cookie import CookieSeal


def header_of(value: object) -> str:
    """A header in the form of a cookie's, with the algorithms of a true one where it is an object."""
    given = {"alg": "dir", "enc": "A256GCM", "kid": "old", **value} if isinstance(value, dict) else value
    return base64.urlsafe_b64encode(json.dumps(given).encode()).decode().rstrip("=")


OLD, NEW = fresh_key("old"), fresh_key("new")


def test_a_seal_is_opened_by_whoever_has_its_key_and_tells_nothing_to_others() -> None:
    sealed = CookieSeal([OLD]).seal("session", {"name": "anna"}, 60)
    for seal in (CookieSeal([OLD]), CookieSeal([NEW, OLD])):
        opened = seal.opened("session", sealed)
        assert opened is not None
        assert opened["name"] == "anna"
    assert CookieSeal([NEW]).opened("session", sealed) is None
    assert CookieSeal([fresh_key("old")]).opened("session", sealed) is None


def test_a_seal_counts_for_its_use_alone_and_for_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seal = CookieSeal([OLD])
    sealed = seal.seal("login", {}, 60)
    assert seal.opened("session", sealed) is None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 59)
    assert seal.opened("login", sealed) is not None
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert seal.opened("login", sealed) is None


def test_whatever_else_a_browser_sends_is_no_seal() -> None:
    seal = CookieSeal([OLD])
    sealed = seal.seal("session", {}, 60)
    header, _, iv, text, tag = sealed.split(".")
    changed = [f"{header}..{iv}.{text}.{tag[:-4]}AAAA", f"{header}..{iv}.{text[:-4]}AAAA.{tag}", sealed[:-1]]
    headers: tuple[object, ...] = ({"crit": 1}, {"kid": {}}, {"kid": [], "crit": [[]]}, {"zip": []}, [], 1, None)
    made_up = [f"{header_of(each)}..{iv}.{text}.{tag}" for each in headers]
    for wrong in ("", "x", "a.b.c", "....", "é", "a" * 5_000, *changed, *made_up):
        assert seal.opened("session", wrong) is None
