"""The settings of rights on the HTTP API: who is known, and who sees payloads."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings

from saga_service.settings.roles import Role
from saga_service.settings.sources import AccessTokens, CommaSeparated, ReadableTokens


class RightsSettings(BaseSettings):
    """What the HTTP API needs to know of its callers. `Settings` is all of it together."""

    http_tokens: ReadableTokens = Field(
        default=AccessTokens(""),
        description="Access tokens of the HTTP API by their hashes: `deploy:operator:<hash>,grafana:viewer:<hash>`. "
        "`saga-service tokens make` makes one. See docs/http-rights.md.",
    )
    http_tokens_file: Path | None = Field(
        default=None,
        description="A file of such tokens, one on each line. It is read again when it changes.",
    )
    http_payload_role: Role = Field(
        default=Role.OPERATOR,
        description="The lowest role that sees payloads by HTTP: inputs, outputs, signals' data, texts of errors, and "
        "the fields of dead letters. Ids, keys, statuses and codes are shown to all.",
    )
    http_redacted_fields: CommaSeparated = Field(
        default=(),
        description="Fields of payloads that HTTP never shows below SAGA_HTTP_REDACTED_FIELDS_ROLE: "
        "`card_number,customer.iban,*.token`. A name counts wherever it stands, in any case; `*` is any one name.",
    )
    http_redacted_fields_role: Role | Literal["nobody"] = Field(
        default=Role.ADMIN,
        description="The lowest role that sees SAGA_HTTP_REDACTED_FIELDS.",
    )

    @property
    def has_rights(self) -> bool:
        """True where callers of the HTTP API have to be known."""
        return bool(self.http_tokens.get_secret_value()) or self.http_tokens_file is not None
