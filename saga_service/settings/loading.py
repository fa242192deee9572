"""The settings of this process, or everything that is wrong with them at once."""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from saga_service.settings.model import Settings, is_secret
from saga_service.settings.sources import (
    Place,
    missing_secrets_directory,
    place_of,
    read_places,
    unknown_names,
    variable_of,
)


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
