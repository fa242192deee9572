"""The settings of a command."""

from __future__ import annotations

from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.settings import InvalidSettings, Settings, load_settings


def read_settings() -> Settings:
    """Read the settings. Raises CommandFailed with everything that is wrong in them."""
    try:
        return load_settings()
    except InvalidSettings as error:
        lines = "\n".join(f"  {problem}" for problem in error.problems)
        raise CommandFailed(f"the settings are wrong:\n{lines}", code=ExitCode.USAGE) from None
