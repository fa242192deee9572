"""The access tokens that count now: those of the settings, and those of a file that is read again when it changes."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.settings.http_tokens import StoredToken, digest_of, read_tokens

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 1.0
FILE_BYTES_MAX = 1_048_576


class TokenStore:
    """Finds tokens. Raises Failure where the file cannot be used at the start."""

    def __init__(self, given: Sequence[StoredToken], path: Path | None) -> None:
        self._given = list(given)
        self._path = path
        self._content = b""
        self._tokens = self._given
        if path is not None:
            try:
                self._take(_read(path))
            except (OSError, ValueError) as error:
                raise Failure(f"SAGA_HTTP_TOKENS_FILE: {path}: {_told(error)}", kind=FailureKind.INVALID) from None

    def find(self, token: str) -> StoredToken | None:
        """The stored token, also one that has expired; None where there is none."""
        digest = digest_of(token)
        # Every one is compared, each in constant time: the time taken tells nothing of the others.
        found = [each for each in self._tokens if hmac.compare_digest(each.digest, digest)]
        return found[0] if found else None

    async def follow(self) -> None:
        """Read the file again whenever its content has changed, for ever. A file that cannot be used changes nothing.

        The content is compared, and not the file's date: a secret of Kubernetes is replaced by turning a link.
        """
        if self._path is None:
            return
        told: str | None = None
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                content = await asyncio.to_thread(_read, self._path)
                if content != self._content:
                    self._take(content)
                    log.info("tokens were read again", path=str(self._path), tokens=len(self._tokens))
                told = None
            except (OSError, ValueError) as error:
                if told != (told := _told(error)):
                    log.error(
                        "the file of tokens cannot be used; those of before count", path=str(self._path), error=told
                    )

    def _take(self, content: bytes) -> None:
        tokens = {each.digest: each for each in (*self._given, *read_tokens(content.decode()))}
        self._tokens = list(tokens.values())
        self._content = content
        for each in self._tokens:
            if each.expires_at is not None and each.expires_at <= datetime.now(UTC):
                log.warning("a token has expired", name=each.name, at=each.expires_at.isoformat())


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        raise ValueError(f"has more than {FILE_BYTES_MAX} bytes")
    return content


def _told(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "is not UTF-8"
    return str(error.strerror) if isinstance(error, OSError) else str(error)
