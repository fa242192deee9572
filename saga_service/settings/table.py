"""The table of settings: each with its type, default, limits and meaning. `load_settings` reads them all at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, Secret, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource, SettingsConfigDict

from saga_service.settings.http_settings import HttpSettings
from saga_service.settings.rights_settings import RightsSettings
from saga_service.settings.service_settings import ServiceSettings
from saga_service.settings.sources import (
    ENVIRONMENT_FILE,
    ENVIRONMENT_PREFIX,
    IgnoringCase,
    Place,
    ServerUrl,
    missing_secrets_directory,
    place_of,
    read_places,
    secrets_directory,
    unknown_names,
    variable_of,
)

LogFormat = Literal["auto", "json", "console"]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]


class Settings(RightsSettings, HttpSettings, ServiceSettings):
    """All settings of one process. `load_settings` reads them, and finds misspelt names as well."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_prefix=ENVIRONMENT_PREFIX, env_file=ENVIRONMENT_FILE, env_ignore_empty=True
    )

    worker_concurrency: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Commands that one worker carries out at once, at most. By default the worker's own number.",
    )
    health_dir: str | None = Field(
        default=None,
        description="Directory for the file by which `saga-service health` finds this process. By default "
        "`saga-service-<user id>` in the temporary directory.",
    )
    log_format: Annotated[LogFormat, IgnoringCase] = Field(
        default="auto", description="`auto` is `console` on a terminal and `json` elsewhere."
    )
    log_level: Annotated[LogLevel, IgnoringCase] = Field(default="info", description="The lowest level that is logged.")

    @model_validator(mode="after")
    def _fit_together(self) -> Settings:
        if self.intake_entries_max < self.batch_entries_max:
            raise ValueError(
                f"SAGA_INTAKE_ENTRIES_MAX ({self.intake_entries_max}) must be at least "
                f"SAGA_BATCH_ENTRIES_MAX ({self.batch_entries_max})"
            )
        if self.postgres_pool_size <= self.lanes:
            raise ValueError(
                f"SAGA_POSTGRES_POOL_SIZE ({self.postgres_pool_size}) must be more than SAGA_LANES ({self.lanes}): "
                "each lane holds a connection, and the timers need one"
            )
        if self.encryption_cipher and self.encryption_keys.get_secret_value():
            raise ValueError(
                "SAGA_ENCRYPTION_CIPHER and SAGA_ENCRYPTION_KEYS cannot both be set: a cipher has its own keys"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        secret_files = SecretsSettingsSource(
            settings_cls, secrets_dir=secrets_directory(settings_cls), case_sensitive=False
        )
        return init_settings, env_settings, dotenv_settings, secret_files


def is_secret(field: str) -> bool:
    """True for a setting whose value is never printed in full."""
    kind = Settings.model_fields[field].annotation
    return isinstance(kind, type) and issubclass(kind, Secret)


class InvalidSettings(Exception):
    """The settings cannot be used. `problems` has one line for each thing to change."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load_settings() -> Settings:
    """Read the settings of this process. Raises InvalidSettings with everything that is wrong, misspelt names too."""
    try:
        places = read_places(Settings)
        problems = [*missing_secrets_directory(Settings), *unknown_names(Settings, places)]
        try:
            settings = Settings()
        except ValidationError as error:
            problems += [_explained(detail, places) for detail in error.errors(include_url=False)]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings([f"the settings cannot be read: {error}"]) from None
    if problems:
        raise InvalidSettings(problems)
    return settings


_ADDRESSES = ("postgres_dsn", "redis_url")


def sets_an_address(settings: Settings) -> bool:
    """True if the address of a server comes from anywhere but the defaults."""
    return not settings.model_fields_set.isdisjoint(_ADDRESSES)


def missing_address(settings: Settings, field: str) -> str:
    """A remark, to stand behind an address, that it is the default, and in which variable another is given."""
    return "" if field in settings.model_fields_set else f" (no address is set: {variable_of(field)})"


def at_addresses(settings: Settings, variables: Mapping[str, str]) -> Settings:
    """The settings, with the addresses that these variables have."""
    given = {field: ServerUrl(variables[name]) for field in _ADDRESSES if (name := variable_of(field)) in variables}
    return settings.model_copy(update=given)


def _explained(detail: ErrorDetails, places: list[Place]) -> str:
    message = _rephrased(detail["msg"])
    if not detail["loc"]:
        return message
    field = str(detail["loc"][0])
    place = place_of(field, places)
    origin = f" (from the {place.name})" if place else ""
    # The value of a secret is never repeated, not even when it is wrong.
    given = "" if is_secret(field) else f", but is {detail['input']!r}"
    return f"{variable_of(field)}{origin}: {message}{given}"


def _rephrased(message: str) -> str:
    return message.removeprefix("Value error, ").replace("Input should be", "must be").replace("String should", "must")
