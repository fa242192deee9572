"""The settings of rights on the HTTP API: who is known, and who sees payloads."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings

from saga_service.settings.roles import Role
from saga_service.settings.sources import (
    AccessTokens,
    ClientSecret,
    CommaSeparated,
    EncryptionKeys,
    Issuer,
    Origin,
    ReadableKeys,
    ReadableTokens,
    RoleMapping,
    Scopes,
    variable_of,
)

_NEEDED_FOR_LOGIN = {
    "http_oidc_client_id": "the id that the provider has for this API",
    "http_oidc_roles": "which values of the claim mean which role",
    "http_public_url": "the address in people's browsers, to which the provider sends them back",
    "http_session_keys": "a key for people's sessions, which saga-service keys make prints",
}
"""What a log-in needs beside its provider, and what that is for."""


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
    http_public_url: Origin | None = Field(
        default=None,
        description="The address of the HTTP API in people's browsers, without a path: `https://sagas.example.com`. "
        "Log-ins come back to it, and pages of it may steer sagas.",
    )
    http_trusted_proxies: CommaSeparated = Field(
        default=(),
        description="Addresses or networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed: "
        "`10.0.0.0/8`.",
    )
    http_oidc_issuer: Issuer | None = Field(
        default=None,
        description="The OpenID Connect provider where people log in: `https://login.example.com/realms/shop`. "
        "See docs/http-rights.md.",
    )
    http_oidc_client_id: str = Field(default="", description="The id that the provider has for this API.")
    http_oidc_client_secret: ClientSecret = Field(
        default=ClientSecret(""), description="The secret of that id. Empty for a public client, which has PKCE alone."
    )
    http_oidc_scopes: Scopes = Field(
        default="openid profile email",
        description="The scopes that a log-in asks for, separated by blanks; `openid` is one of them.",
    )
    http_oidc_role_claim: str = Field(
        default="roles",
        min_length=1,
        description="The claim that has a person's roles or groups: its name, or a path such as `realm_access.roles`.",
    )
    http_oidc_roles: RoleMapping = Field(
        default=(),
        description="The role of each value of that claim: `saga-admins=admin,sre=operator,*=viewer`. The highest one "
        "counts; `*` is whoever has logged in, and without it others are refused.",
    )
    http_oidc_name_claim: str = Field(
        default="preferred_username",
        min_length=1,
        description="The claim that has a person's name, for the history. Without it: `email`, or else `sub`.",
    )
    http_oidc_audience: str | None = Field(
        default=None,
        min_length=1,
        description="The audience of the provider's access tokens that programs may send as Bearer. By default none.",
    )
    http_session_keys: ReadableKeys = Field(
        default=EncryptionKeys(""),
        description="Keys that seal the cookies of people who have logged in, in the form of SAGA_ENCRYPTION_KEYS. All "
        "processes have the same. The first one seals, all open; `saga-service keys make` makes one.",
    )
    http_session_minutes: int = Field(
        default=480, ge=1, le=43_200, description="How long a log-in counts, before the provider is asked again."
    )

    @property
    def has_rights(self) -> bool:
        """True where callers of the HTTP API have to be known."""
        has_tokens = bool(self.http_tokens.get_secret_value()) or self.http_tokens_file is not None
        return has_tokens or self.http_oidc_issuer is not None

    @model_validator(mode="after")
    def _login_has_what_it_needs(self) -> RightsSettings:
        if self.http_oidc_issuer is not None:
            for field, purpose in _NEEDED_FOR_LOGIN.items():
                value = getattr(self, field)
                if not (value.get_secret_value() if isinstance(value, EncryptionKeys) else value):
                    raise ValueError(f"SAGA_HTTP_OIDC_ISSUER needs {variable_of(field)}: {purpose}")
        return self
