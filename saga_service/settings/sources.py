"""The places that settings come from, and the names in them that are no settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource

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
