"""The settings of a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saga_service.cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from saga_service.settings import Settings


def read_settings() -> Settings:
    """Raises CommandFailed with everything that is wrong."""
    from saga_service.settings import InvalidSettings, load_settings

    try:
        return load_settings()
    except InvalidSettings as error:
        lines = "\n".join(f"  {problem}" for problem in error.problems)
        raise CommandFailed(f"the settings are wrong:\n{lines}", ExitCode.USAGE) from None
