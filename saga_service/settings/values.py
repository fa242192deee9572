"""The types of settings that need a check of their own: addresses, keys, lists, names."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, Secret
from pydantic_settings import NoDecode

from saga_service.encryption.keys import read_keys

_MODULE_AND_NAME = re.compile(r"[\w.]+:\w+")
_PASSWORD_IN_USER_INFO = re.compile(r"^([a-z][a-z0-9+.-]*://[^:/@?#]*):.*@", re.IGNORECASE | re.DOTALL)
_PASSWORD_IN_QUERY = re.compile(r"([?&][a-z_]*password=)[^&]*", re.IGNORECASE)


class ServerUrl(Secret[str]):
    """A server's address. It is shown without its password; `get_secret_value` gives all of it."""

    def _display(self) -> str:
        return without_password(self.get_secret_value())


class EncryptionKeys(Secret[str]):
    """Encryption keys in the form that `encryption.keys` reads. Only their ids are ever shown."""

    def _display(self) -> str:
        return ",".join(f"{key.id}:***" for key in read_keys(self.get_secret_value()))


def without_password(url: str) -> str:
    """The URL as it may be shown and logged."""
    return _PASSWORD_IN_QUERY.sub(r"\1***", _PASSWORD_IN_USER_INFO.sub(r"\1:***@", url))


def _postgres_url(url: ServerUrl) -> ServerUrl:
    return _with_scheme(url, ("postgresql", "postgres"), "postgresql://user:password@host:5432/database")


def _redis_url(url: ServerUrl) -> ServerUrl:
    return _with_scheme(url, ("redis", "rediss", "unix"), "redis://:password@host:6379/0 (or rediss://, unix://)")


def _with_scheme(url: ServerUrl, schemes: tuple[str, ...], example: str) -> ServerUrl:
    try:
        scheme = urlsplit(url.get_secret_value()).scheme
    except ValueError:
        scheme = ""
    if scheme not in schemes:
        raise ValueError(f"must be a URL such as {example}")
    return url


def _readable_keys(keys: EncryptionKeys) -> EncryptionKeys:
    read_keys(keys.get_secret_value())
    return keys


def _split_at_commas(value: object) -> object:
    if isinstance(value, str):
        return tuple(part for part in (part.strip() for part in value.split(",")) if part)
    return value


def _module_and_worker(workers: tuple[str, ...]) -> tuple[str, ...]:
    for worker in workers:
        if not _MODULE_AND_NAME.fullmatch(worker):
            raise ValueError(f"'{worker}' must have the form MODULE:worker, for example shop.workers:payment")
    return workers


def _module_and_function(function: str) -> str:
    if not _MODULE_AND_NAME.fullmatch(function):
        raise ValueError("must have the form MODULE:function, for example shop.keys:cipher")
    return function


def _in_lower_case(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


PostgresUrl = Annotated[ServerUrl, AfterValidator(_postgres_url)]
RedisUrl = Annotated[ServerUrl, AfterValidator(_redis_url)]
ReadableKeys = Annotated[EncryptionKeys, AfterValidator(_readable_keys)]
CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_at_commas)]
WorkerNames = Annotated[CommaSeparated, AfterValidator(_module_and_worker)]
FunctionName = Annotated[str, AfterValidator(_module_and_function)]
StreamNamePart = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^\S+$")]
IgnoringCase = BeforeValidator(_in_lower_case)
