"""Every setting of the service, where it is read from, and what is wrong with it.

A setting comes from the first of these that has it: the environment (`SAGA_LANES`), the file `.env` in the working
directory, a secrets file (`/run/secrets/saga_postgres_dsn`), the default. An empty variable counts as not set.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, Secret, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from saga_service.encryption.keys import read_keys
from saga_service.wire.stream_names import PREFIX_DEFAULT

ENVIRONMENT_PREFIX = "SAGA_"
ENVIRONMENT_FILE = ".env"
SECRETS_DIRECTORY_VARIABLE = "SAGA_SECRETS_DIR"
SECRETS_DIRECTORY_DEFAULT = "/run/secrets"

LogFormat = Literal["auto", "json", "console"]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]

_MODULE_AND_NAME = re.compile(r"[\w.]+:\w+")
_PASSWORD_IN_USER_INFO = re.compile(r"^([a-z][a-z0-9+.-]*://[^:/@?#]*):.*@", re.IGNORECASE | re.DOTALL)
_PASSWORD_IN_QUERY = re.compile(r"([?&][a-z_]*password=)[^&]*", re.IGNORECASE)


class InvalidSettings(Exception):
    """The settings cannot be used as they are. `problems` has one line for each thing to change."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ServerUrl(Secret[str]):
    """A server's address. It is shown without its password; `get_secret_value` gives all of it."""

    def _display(self) -> str:
        return without_password(self.get_secret_value())


class EncryptionKeys(Secret[str]):
    """Keys as `encryption.keys` reads them. Only their ids are ever shown."""

    def _display(self) -> str:
        return ",".join(f"{key.id}:***" for key in read_keys(self.get_secret_value()))


def _readable_keys(keys: EncryptionKeys) -> EncryptionKeys:
    read_keys(keys.get_secret_value())
    return keys


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


def _split_at_commas(value: object) -> object:
    if isinstance(value, str):
        return tuple(part for part in (part.strip() for part in value.split(",")) if part)
    return value


def _module_and_name(workers: tuple[str, ...]) -> tuple[str, ...]:
    for worker in workers:
        if not _MODULE_AND_NAME.fullmatch(worker):
            raise ValueError(f"'{worker}' must have the form MODULE:worker, for example shop.workers:payment")
    return workers


def _module_and_function(cipher: str | None) -> str | None:
    if cipher is not None and not _MODULE_AND_NAME.fullmatch(cipher):
        raise ValueError("must have the form MODULE:function, for example shop.keys:cipher")
    return cipher


def _in_lower_case(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _consumer_of_this_process() -> str:
    # Never the name of an earlier process: its pending entries are reclaimed, and are not ours to answer for.
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_at_commas)]
StreamNamePart = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^\S+$")]


class Settings(BaseSettings):
    """All settings of one process. Whoever starts a process calls `load_settings`, which also finds misspelt names."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_prefix=ENVIRONMENT_PREFIX, env_file=ENVIRONMENT_FILE, env_ignore_empty=True
    )

    # ------------------------------------------------------------------------------------------------- servers

    postgres_dsn: Annotated[ServerUrl, AfterValidator(_postgres_url)] = Field(
        default=ServerUrl("postgresql://localhost:5432/saga"),
        description="Postgres, where every saga lives: `postgresql://user:password@host:5432/database`.",
    )
    postgres_pool_size: int = Field(
        default=8, ge=2, le=500, description="Connections to Postgres that one process holds at most."
    )
    postgres_statement_cache_size: int = Field(
        default=100,
        ge=0,
        le=10_000,
        description="Prepared statements kept for each connection. 0 for a pgbouncer in transaction mode below 1.21.",
    )
    postgres_timeout_ms: int = Field(
        default=30_000,
        ge=100,
        le=600_000,
        description="How long one statement, or the wait for a free connection, may take before it is given up.",
    )
    redis_url: Annotated[ServerUrl, AfterValidator(_redis_url)] = Field(
        default=ServerUrl("redis://localhost:6379/0"),
        description="Redis (or Valkey), which carries the streams: `redis://:password@host:6379/0`.",
    )
    startup_wait_s: float = Field(
        default=60.0, ge=0, le=86_400, description="How long to wait at start for Postgres and Redis to answer."
    )
    migrate_at_start: bool = Field(
        default=False, description="Bring the database schema up to date at start, as `saga-service migrate` does."
    )

    # ------------------------------------------------------------------------------- what runs, and under which names

    definitions: CommaSeparated = Field(
        default=(),
        description="Where the sagas are defined, separated by commas: Python modules (`shop.sagas`) or YAML files.",
    )
    workers: Annotated[CommaSeparated, AfterValidator(_module_and_name)] = Field(
        default=(),
        description="Workers to run inside the service process, as `MODULE:worker`, separated by commas.",
    )
    prefix: StreamNamePart = Field(
        default=PREFIX_DEFAULT,
        description="How the names of all our streams begin; a deployment of its own has its own.",
    )
    group: StreamNamePart = Field(
        default="saga-service", description="The service's consumer group on our own streams, shared by all replicas."
    )
    consumer: StreamNamePart = Field(
        default_factory=_consumer_of_this_process,
        description="This process's name in its consumer groups. No two processes may ever have the same.",
    )

    encryption_keys: Annotated[EncryptionKeys, AfterValidator(_readable_keys)] = Field(
        default=EncryptionKeys(""),
        description="Keys by which inputs, outputs and all `data` are encrypted: `2026b:<base64>,2026a:<base64>`. The "
        "first encrypts, all decrypt; `saga-service keys make` makes one. See docs/encryption.md.",
    )
    encryption_enabled: bool = Field(
        default=True,
        description="`false`: encrypted data is still decrypted, and new data is written plain. Until every "
        "process has the keys, or to give encryption up.",
    )
    encryption_cipher: Annotated[str | None, AfterValidator(_module_and_function)] = Field(
        default=None,
        description="A function that makes a cipher of your own in place of those keys, as `MODULE:function`.",
    )

    # ----------------------------------------------------------------------------------------------- batches

    batch_entries_max: int = Field(
        default=512, ge=1, le=10_000, description="Entries that one commit takes in at most."
    )
    batch_bytes_max: int = Field(
        default=8_388_608,
        ge=1_024,
        le=268_435_456,
        description="Bytes of entries that one commit takes in, and that wait for it from one stream, at most. "
        "An entry that is larger goes alone.",
    )
    lanes: int = Field(
        default=2, ge=1, le=64, description="Batches in flight at once, so that Postgres and Redis work side by side."
    )
    intake_entries_max: int = Field(
        default=2_048,
        ge=1,
        le=1_000_000,
        description="Entries read and not yet committed, at most; at this number reading pauses.",
    )
    read_block_ms: int = Field(
        default=2_000, ge=10, le=60_000, description="How long one read waits for entries on an idle stream."
    )
    data_bytes_max: int = Field(
        default=1_048_576,
        ge=1_024,
        le=268_435_456,
        description="The largest entry that is taken in; a larger one becomes a dead letter.",
    )
    cached_sagas_max: int = Field(
        default=20_000,
        ge=0,
        le=10_000_000,
        description="Sagas kept in memory so that their next batch need not load them. 0 loads them each time.",
    )

    # ------------------------------------------------------------------------------------------------- the loops

    reclaim_idle_ms: int = Field(
        default=20_000,
        ge=100,
        le=86_400_000,
        description="An entry that a consumer has held this long without acknowledging is taken over by another. "
        "Well below every step's time-out, or what a killed worker had in hand is taken over too late.",
    )
    reclaim_period_ms: int = Field(
        default=5_000, ge=10, le=3_600_000, description="How often to look for entries to take over."
    )
    timers_poll_ms: int = Field(
        default=1_000, ge=10, le=60_000, description="How long to wait at most between two looks for due timers."
    )
    timers_lease_ms: int = Field(
        default=10_000,
        ge=100,
        le=3_600_000,
        description="How long a due saga belongs to the replica that found it; then any other may take it.",
    )
    timers_batch_max: int = Field(default=512, ge=1, le=10_000, description="Due sagas taken in one look, at most.")
    requests_poll_ms: int = Field(
        default=100,
        ge=10,
        le=60_000,
        description="How long to wait at most between two looks for what was asked by SQL (saga.start, saga.signal).",
    )
    requests_lease_ms: int = Field(
        default=10_000,
        ge=100,
        le=3_600_000,
        description="How long such a request belongs to the replica that found it; then any other may take it.",
    )
    deferral_max_ms: int = Field(
        default=60_000,
        ge=0,
        le=86_400_000,
        description="How long what is said to a saga waits for one that nobody knows yet, and a start for a replica "
        "that has its definition. Then it is refused.",
    )
    outbox_lease_ms: int = Field(
        default=5_000,
        ge=100,
        le=3_600_000,
        description="Messages committed this long ago and not known to be published are published by any replica.",
    )
    relay_period_ms: int = Field(
        default=1_000, ge=10, le=3_600_000, description="How often to look for such unpublished messages."
    )
    trim_period_ms: int = Field(
        default=10_000,
        ge=100,
        le=86_400_000,
        description="How often our own streams are trimmed of what all have read.",
    )
    outcomes_kept_hours: int = Field(
        default=168, ge=1, le=87_600, description="How long an entry stays on the stream of outcomes."
    )
    dead_letters_kept_hours: int = Field(
        default=720,
        ge=1,
        le=87_600,
        description="How long an entry stays on the stream of dead letters. The table keeps it until it is dropped.",
    )
    ended_sagas_kept_days: int = Field(
        default=0,
        ge=0,
        le=36_500,
        description="How long a saga that has ended, completed or compensated, is kept in Postgres with its history; "
        "then it is removed, and its key may start a new one. 0 keeps all for ever: nothing goes unless it is asked.",
    )
    replayed_dead_letters_kept_days: int = Field(
        default=0,
        ge=0,
        le=36_500,
        description="How long a dead letter stays in the table after it was replayed. 0 keeps it for ever. One that "
        "nobody replayed stays until it is dropped.",
    )
    stop_grace_ms: int = Field(
        default=8_000,
        ge=0,
        le=3_600_000,
        description="How long a stop may take to finish what was begun. Keep it below the container's grace period.",
    )

    # ----------------------------------------------------------------------------------------- workers and logs

    worker_concurrency: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Commands that one worker carries out at once, at most; without it, what the worker itself says.",
    )
    log_format: Annotated[LogFormat, BeforeValidator(_in_lower_case)] = Field(
        default="auto", description="`auto` is `console` on a terminal and `json` elsewhere."
    )
    log_level: Annotated[LogLevel, BeforeValidator(_in_lower_case)] = Field(
        default="info", description="The least level that is logged."
    )

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
        secret_files = SecretsSettingsSource(settings_cls, secrets_dir=_secrets_directory(), case_sensitive=False)
        return init_settings, env_settings, dotenv_settings, secret_files


def load_settings() -> Settings:
    """The settings of this process. Raises InvalidSettings with everything that is wrong, at once."""
    try:
        places = _places()
        problems = [*_missing_secrets_directory(), *_unknown_names(places)]
        try:
            settings = Settings()
        except ValidationError as error:
            problems += [_explained(detail, places) for detail in error.errors(include_url=False)]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings([f"the settings cannot be read: {error}"]) from None
    if problems:
        raise InvalidSettings(problems)
    return settings


# ------------------------------------------------------------------------------------------------ where they come from


@dataclass(frozen=True, slots=True)
class _Place:
    """Somewhere to find settings, and the variables that it has, by name in lower case."""

    name: str
    variables: Mapping[str, str | None]


def _places() -> list[_Place]:
    return [
        _Place("environment", EnvSettingsSource(Settings).env_vars),
        _Place(f"{ENVIRONMENT_FILE} file", DotEnvSettingsSource(Settings).env_vars),
        _Place("secrets file", _secret_files()),
    ]


def _secrets_directory() -> Path | None:
    given = _named_secrets_directory()
    directory = Path(given or SECRETS_DIRECTORY_DEFAULT)
    return directory if directory.is_dir() else None


def _named_secrets_directory() -> str | None:
    name = SECRETS_DIRECTORY_VARIABLE.lower()
    in_file = DotEnvSettingsSource(Settings).env_vars
    return EnvSettingsSource(Settings).env_vars.get(name) or in_file.get(name)


def _secret_files() -> dict[str, str | None]:
    directory = _secrets_directory()
    return {} if directory is None else {path.name.lower(): None for path in directory.iterdir() if path.is_file()}


def _missing_secrets_directory() -> Iterable[str]:
    given = _named_secrets_directory()
    if given is not None and not Path(given).is_dir():
        yield f"{SECRETS_DIRECTORY_VARIABLE}: there is no directory '{given}'"


def _variable(field: str) -> str:
    return f"{ENVIRONMENT_PREFIX}{field.upper()}"


def _place_of(field: str, places: list[_Place]) -> _Place | None:
    name = _variable(field).lower()
    return next((place for place in places if name in place.variables), None)


# --------------------------------------------------------------------------------------------------- what is wrong

_NOT_SETTINGS = ("saga_test_", "saga_demo_", "saga_bench_")
"""Prefixes of variables that steer the tests, the demo and the benchmark."""

_KUBERNETES_LINK = re.compile(r"saga_(\w+_)?(service_host|service_port\w*|port(_\d+_(tcp|udp|sctp)(_\w+)?)?)")
"""What Kubernetes puts into every container of a namespace that has a Service whose name begins with `saga`."""


def _unknown_names(places: list[_Place]) -> Iterable[str]:
    known = {_variable(field).lower(): _variable(field) for field in Settings.model_fields}
    known[SECRETS_DIRECTORY_VARIABLE.lower()] = SECRETS_DIRECTORY_VARIABLE
    for place in places:
        for name in sorted(place.variables):
            if name in known or not name.startswith(ENVIRONMENT_PREFIX.lower()) or _is_of_others(name):
                continue
            alike = get_close_matches(name, known, n=1, cutoff=0.7)
            advice = f"did you mean {known[alike[0]]}?" if alike else "`saga-service settings` lists them all"
            yield f"{name.upper()} (from the {place.name}) is not a setting; {advice}"


def _is_of_others(name: str) -> bool:
    return name.startswith(_NOT_SETTINGS) or _KUBERNETES_LINK.fullmatch(name) is not None


def _explained(detail: ErrorDetails, places: list[_Place]) -> str:
    message = _in_our_words(detail["msg"])
    if not detail["loc"]:
        return message
    field = str(detail["loc"][0])
    place = _place_of(field, places)
    origin = f" (from the {place.name})" if place else ""
    # What was given for a secret is never repeated, not even when it is wrong.
    given = "" if _is_secret(field) else f", but is {detail['input']!r}"
    return f"{_variable(field)}{origin}: {message}{given}"


def _in_our_words(message: str) -> str:
    return message.removeprefix("Value error, ").replace("Input should be", "must be").replace("String should", "must")


def _is_secret(field: str) -> bool:
    return Settings.model_fields[field].annotation in (ServerUrl, EncryptionKeys)


# ----------------------------------------------------------------------------------------------------- for people


class EffectiveSetting(NamedTuple):
    """One setting as it is now. `value` is a plain value with passwords masked; `origin` is where it comes from."""

    variable: str
    value: Any  # whatever JSON can hold: it depends on the setting
    origin: str


def effective_settings(settings: Settings) -> list[EffectiveSetting]:
    """What a process with these settings works with, in the order of the reference."""
    places = _places()
    shown = settings.model_dump(mode="json")
    return [
        EffectiveSetting(
            _variable(field), shown[field], place.name if (place := _place_of(field, places)) else "default"
        )
        for field in Settings.model_fields
    ]


def settings_reference() -> str:
    """All settings as a page of Markdown, for docs/settings.md."""
    rows = [
        f"| `{_variable(name)}` | {_default(field)} | {_range(field)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join([_REFERENCE_HEAD, *rows, ""])


_REFERENCE_HEAD = f"""# Settings

<!-- Made by `saga-service settings --reference`. Change saga_service/settings.py instead. -->

A setting comes from the first of these places that has it:

1. the environment: `SAGA_LANES=4`
2. the file `{ENVIRONMENT_FILE}` in the working directory, in the same form
3. a file named after the setting, with the value as its content: `{SECRETS_DIRECTORY_DEFAULT}/saga_postgres_dsn`;
   `{SECRETS_DIRECTORY_VARIABLE}` names another directory than `{SECRETS_DIRECTORY_DEFAULT}`
4. the default

An empty variable counts as not set. A wrong value, or a name that begins with `SAGA_` and is no setting, keeps every
command from starting; all of them are reported at once. `saga-service settings` shows what is in force, and from where.

| Variable | Default | Range | Meaning |
|---|---|---|---|"""


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "host, process id and a random part"
    default = field.get_default()
    if default in ((), None) or not str(default):
        return "none"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _range(field: FieldInfo) -> str:
    limits = {
        name: getattr(part, name)
        for part in field.metadata
        for name in ("ge", "le")
        if getattr(part, name, None) is not None
    }
    if limits:
        return f"{limits['ge']} to {limits['le']}"
    choices = getattr(field.annotation, "__args__", ())
    if getattr(field.annotation, "__origin__", None) is Literal:
        return ", ".join(f"`{choice}`" for choice in choices)
    return "`true`, `false`" if field.annotation is bool else "text"
