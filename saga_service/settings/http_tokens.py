"""Access tokens of the HTTP API, as they are stored: `NAME:ROLE:HASH`, or `NAME:ROLE:HASH:2027-01-31` with an end.

A token is 32 random bytes, which nobody finds by trying. So its hash is plain SHA-256: one that is slow on purpose
protects passwords that can be guessed, and would cost every request what it costs an attacker.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from saga_service.settings.roles import Role, role_named

TOKEN_PREFIX = "saga_"
"""The beginning of every token, by which scanners of repositories and logs find one that leaked."""
TOKEN_BYTES = 32
NAME_CHARACTERS_MAX = 100
TOKENS_MAX = 1_000
_NAME = re.compile(rf"[\w.@+-]{{1,{NAME_CHARACTERS_MAX}}}")
_HASH = re.compile(r"[0-9a-f]{64}")
_FORM = "NAME:ROLE:HASH or NAME:ROLE:HASH:EXPIRY; make one: saga-service tokens make NAME --role viewer"


@dataclass(frozen=True, slots=True)
class StoredToken:
    """One token. `name` is the actor in the history of what is asked for with it."""

    name: str
    role: Role
    digest: bytes = field(repr=False)
    expires_at: datetime | None = None


def fresh_token() -> str:
    """A new random token."""
    return TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def digest_of(token: str) -> bytes:
    """The hash by which a token is known."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def is_token_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def write_token(token: StoredToken) -> str:
    """The token as it is stored."""
    expiry = "" if token.expires_at is None else f":{token.expires_at.isoformat()}"
    return f"{token.name}:{token.role}:{token.digest.hex()}{expiry}"


def read_expiry(text: str) -> datetime:
    """The moment at which a token ends: the beginning of a day in UTC, or a time with its zone. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"the expiry must be a date such as 2027-01-31, but is '{text}'") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def read_tokens(text: str) -> list[StoredToken]:
    """The tokens of a list, separated by commas or lines. What follows a `#` is a comment.

    Raises ValueError, whose text has the place and no hash.
    """
    tokens: dict[bytes, StoredToken] = {}
    for place, part in _parts(text):
        try:
            token = _read_token(part)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        if token.digest in tokens:
            raise ValueError(f"{place}: '{token.name}' has the hash of '{tokens[token.digest].name}'")
        tokens[token.digest] = token
    if len(tokens) > TOKENS_MAX:
        raise ValueError(f"there are {len(tokens)} tokens, and {TOKENS_MAX} at most are allowed")
    return list(tokens.values())


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """Each token as it is written, with its place."""
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        parts = [part.strip() for part in line.partition("#")[0].split(",")]
        for count, part in enumerate(filter(None, parts), start=1):
            yield (f"line {number}" if len(lines) > 1 else f"token {count}"), part


def _read_token(part: str) -> StoredToken:
    if TOKEN_PREFIX in part:
        raise ValueError("a token itself stands in place of its hash: make a new one, for this one is no secret now")
    if part.count(":") < 2:
        raise ValueError(f"must be {_FORM}")
    name, _, rest = part.partition(":")
    role, _, rest = rest.partition(":")
    digest, _, expiry = rest.partition(":")
    if not is_token_name(name):
        raise ValueError(f"the name must be letters, digits and . @ + - _, as in {_FORM}")
    if not _HASH.fullmatch(digest):
        raise ValueError(f"the hash of '{name}' must be 64 hexadecimal digits, as in {_FORM}")
    return StoredToken(name, role_named(role), bytes.fromhex(digest), read_expiry(expiry) if expiry else None)
