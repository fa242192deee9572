"""The settings for people: the values in force, and the reference page."""

from __future__ import annotations

from enum import Enum
from itertools import chain
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic.fields import FieldInfo

from saga_service.settings.sources import (
    ENVIRONMENT_FILE,
    SECRETS_DIRECTORY_DEFAULT,
    SECRETS_DIRECTORY_VARIABLE,
    Place,
    place_of,
    read_places,
    variable_of,
)
from saga_service.settings.table import Settings


class EffectiveSetting(NamedTuple):
    """A setting in force. `value` is a plain value with passwords masked; `origin` is the place that it comes from."""

    variable: str
    value: Any  # whatever JSON can hold: it depends on the setting
    origin: str


def effective_settings(settings: Settings) -> list[EffectiveSetting]:
    """All settings in force, in the order of the reference."""
    places = read_places(Settings)
    shown = settings.model_dump(mode="json")
    return [
        EffectiveSetting(variable_of(field), shown[field], _origin(field, settings, places))
        for field in Settings.model_fields
    ]


def _origin(field: str, settings: Settings, places: list[Place]) -> str:
    place = place_of(field, places)
    if place is None:
        return "running dev" if field in settings.model_fields_set else "default"
    return place.name


def settings_reference() -> str:
    """All settings as a page of Markdown, for docs/settings.md."""
    rows = [
        f"| `{variable_of(name)}` | {_default(field)} | {_range(field)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join([_HEAD, *rows, ""])


_HEAD = f"""# Settings

<!-- Made by `saga-service settings --reference`. Change saga_service/settings/table.py instead. -->

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
    if choices := _choices(field.annotation):
        return ", ".join(f"`{choice}`" for choice in choices)
    return "`true`, `false`" if field.annotation is bool else "text"


def _choices(kind: object) -> tuple[object, ...]:
    """The values that a setting of this type may have, where they are few and have names."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return tuple(each.value for each in kind)
    if get_origin(kind) is Literal:
        return get_args(kind)
    return tuple(chain.from_iterable(map(_choices, get_args(kind))))
