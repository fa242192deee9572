"""The settings of a process: their table (`model`), where they come from (`sources`), and their reference page.

A setting comes from the first of these that has it: the environment (`SAGA_LANES`), the file `.env` in the working
directory, a secrets file (`/run/secrets/saga_postgres_dsn`), the default. An empty variable counts as not set.
"""

from saga_service.settings.reference import EffectiveSetting, effective_settings, settings_reference
from saga_service.settings.sources import (
    ENVIRONMENT_PREFIX,
    AccessTokens,
    EncryptionKeys,
    ServerUrl,
    variable_of,
    without_password,
)
from saga_service.settings.table import (
    InvalidSettings,
    LogFormat,
    LogLevel,
    Settings,
    at_addresses,
    load_settings,
    missing_address,
    sets_an_address,
)

__all__ = [
    "ENVIRONMENT_PREFIX",
    "AccessTokens",
    "EffectiveSetting",
    "EncryptionKeys",
    "InvalidSettings",
    "LogFormat",
    "LogLevel",
    "ServerUrl",
    "Settings",
    "at_addresses",
    "effective_settings",
    "load_settings",
    "missing_address",
    "sets_an_address",
    "settings_reference",
    "variable_of",
    "without_password",
]
