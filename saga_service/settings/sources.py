"""The places that settings come from, and the types of values that need a check of their own: addresses, keys, lists,
names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, Secret
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, NoDecode

from saga_service.base.address import postgres_problem, redis_problem
from saga_service.encryption.keys import read_keys
from saga_service.settings.http_tokens import read_tokens
from saga_service.settings.roles import read_role_mapping

_MODULE_AND_NAME = re.compile(r"[\w.]+:\w+")
_ORIGIN = re.compile(r"https?://[^/?#\s@]+")
_ISSUER = re.compile(r"(https://|http://(localhost|127\.0\.0\.1|\[::1\])(?=[:/]|$))[^?#\s@]*")
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


class AccessTokens(Secret[str]):
    """Access tokens in the form that `http_tokens` reads. Only their names and roles are ever shown."""

    def _display(self) -> str:
        return ",".join(f"{token.name}:{token.role}:***" for token in read_tokens(self.get_secret_value()))


class ClientSecret(Secret[str]):
    """The secret of a client at an identity provider. Nothing of it is ever shown."""

    def _display(self) -> str:
        return "***" if self.get_secret_value() else ""


def without_password(url: str) -> str:
    """The URL as it may be shown and logged."""
    return _PASSWORD_IN_QUERY.sub(r"\1***", _PASSWORD_IN_USER_INFO.sub(r"\1:***@", url))


def _postgres_url(url: ServerUrl) -> ServerUrl:
    return _without(postgres_problem(url.get_secret_value()), url)


def _redis_url(url: ServerUrl) -> ServerUrl:
    return _without(redis_problem(url.get_secret_value()), url)


def _without(problem: str | None, url: ServerUrl) -> ServerUrl:
    if problem is not None:
        raise ValueError(problem)
    return url


def _readable_keys(keys: EncryptionKeys) -> EncryptionKeys:
    read_keys(keys.get_secret_value())
    return keys


def _readable_tokens(tokens: AccessTokens) -> AccessTokens:
    read_tokens(tokens.get_secret_value())
    return tokens


def _readable_roles(parts: tuple[str, ...]) -> tuple[str, ...]:
    read_role_mapping(parts)
    return parts


def _origin(url: str) -> str:
    if not _ORIGIN.fullmatch(url):
        raise ValueError("must be an address without a path, such as https://sagas.example.com")
    return url


def _issuer(url: str) -> str:
    # What goes over a network in plain could be anybody's answer.
    if not _ISSUER.fullmatch(url):
        raise ValueError("must be an https address, such as https://login.example.com/realms/shop")
    return url


def _scopes(text: str) -> str:
    if "openid" not in text.split():
        raise ValueError("must be scopes separated by blanks, one of which is openid")
    return text


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
ReadableTokens = Annotated[AccessTokens, AfterValidator(_readable_tokens)]
CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_at_commas)]
WorkerNames = Annotated[CommaSeparated, AfterValidator(_module_and_worker)]
Origin = Annotated[str, AfterValidator(_origin)]
Issuer = Annotated[str, AfterValidator(_issuer)]
Scopes = Annotated[str, AfterValidator(_scopes)]
RoleMapping = Annotated[CommaSeparated, AfterValidator(_readable_roles)]
FunctionName = Annotated[str, AfterValidator(_module_and_function)]
StreamNamePart = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^\S+$")]
IgnoringCase = BeforeValidator(_in_lower_case)


ENVIRONMENT_PREFIX = "SAGA_"
ENVIRONMENT_FILE = ".env"
SECRETS_DIRECTORY_VARIABLE = "SAGA_SECRETS_DIR"
SECRETS_DIRECTORY_DEFAULT = "/run/secrets"

_OTHER_PREFIXES = ("saga_test_", "saga_demo_", "saga_bench_")
"""Prefixes of variables that steer the tests, the demo and the benchmark."""

_KUBERNETES_LINK = re.compile(r"saga_(\w+_)?(service_host|service_port\w*|port(_\d+_(tcp|udp|sctp)(_\w+)?)?)")
"""The variables that Kubernetes sets in every container of a namespace with a Service whose name begins with `saga`."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place that settings come from, with its variables by name in lower case."""

    name: str
    variables: Mapping[str, str | None]


def variable_of(field: str) -> str:
    """The name of a field's environment variable."""
    return f"{ENVIRONMENT_PREFIX}{field.upper()}"


def read_places(model: type[BaseSettings]) -> list[Place]:
    """The places in the order in which they are asked for a setting."""
    return [
        Place("environment", EnvSettingsSource(model).env_vars),
        Place(f"{ENVIRONMENT_FILE} file", DotEnvSettingsSource(model).env_vars),
        Place("secrets file", _secret_files(model)),
    ]


def place_of(field: str, places: list[Place]) -> Place | None:
    """The place that a field's value comes from, None where it has its default."""
    name = variable_of(field).lower()
    return next((place for place in places if name in place.variables), None)


def secrets_directory(model: type[BaseSettings]) -> Path | None:
    """The directory of secrets files, None where there is none."""
    directory = Path(_given_secrets_directory(model) or SECRETS_DIRECTORY_DEFAULT)
    return directory if directory.is_dir() else None


def missing_secrets_directory(model: type[BaseSettings]) -> Iterator[str]:
    """A line where SAGA_SECRETS_DIR names a directory that does not exist."""
    given = _given_secrets_directory(model)
    if given is not None and not Path(given).is_dir():
        yield f"{SECRETS_DIRECTORY_VARIABLE}: there is no directory '{given}'"


def unknown_names(model: type[BaseSettings], places: list[Place]) -> Iterator[str]:
    """A line for each variable that looks like a setting and is none."""
    known = {variable_of(field).lower(): variable_of(field) for field in model.model_fields}
    known[SECRETS_DIRECTORY_VARIABLE.lower()] = SECRETS_DIRECTORY_VARIABLE
    for place in places:
        for name in sorted(place.variables):
            if name in known or not name.startswith(ENVIRONMENT_PREFIX.lower()) or _belongs_to_others(name):
                continue
            alike = get_close_matches(name, known, n=1, cutoff=0.7)
            advice = f"did you mean {known[alike[0]]}?" if alike else "`saga-service settings` lists them all"
            yield f"{name.upper()} (from the {place.name}) is not a setting; {advice}"


def _belongs_to_others(name: str) -> bool:
    return name.startswith(_OTHER_PREFIXES) or _KUBERNETES_LINK.fullmatch(name) is not None


def _given_secrets_directory(model: type[BaseSettings]) -> str | None:
    name = SECRETS_DIRECTORY_VARIABLE.lower()
    in_file = DotEnvSettingsSource(model).env_vars
    return EnvSettingsSource(model).env_vars.get(name) or in_file.get(name)


def _secret_files(model: type[BaseSettings]) -> dict[str, str | None]:
    directory = secrets_directory(model)
    return {} if directory is None else {path.name.lower(): None for path in directory.iterdir() if path.is_file()}
