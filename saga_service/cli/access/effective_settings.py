"""The settings of a command: as they are set, or with the addresses of a `dev` that runs in this folder.

Advice on a server that cannot be used stands here too, for it depends on where its address came from.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.local.dev_record import ended_dev, running_dev
from saga_service.settings import InvalidSettings, Settings, at_addresses, load_settings, sets_an_address


def read_settings(*, for_modules: bool = False) -> Settings:
    """Read the settings. Where no address is set, those of a `dev` that runs in this folder, or above it, are used.

    `for_modules` puts these addresses into the environment too: modules of the author's, which are imported next, may
    look for them there, as they do in the processes of `dev`. Raises Failure with everything that is wrong in the
    settings.
    """
    settings = read_own_settings()
    if sets_an_address(settings):
        return settings
    dev = running_dev(Path.cwd())
    if dev is None:
        return settings
    sys.stderr.write(
        f"saga-service: uses the servers of the {dev.command} that runs in {dev.folder} (process {dev.pid})\n"
    )
    if for_modules:
        os.environ.update(dev.settings)
    return at_addresses(settings, dev.settings)


def read_own_settings() -> Settings:
    """Read the settings as they are set. Raises Failure with everything that is wrong in them."""
    try:
        return load_settings()
    except InvalidSettings as error:
        lines = "\n".join(f"  {problem}" for problem in error.problems)
        raise Failure(f"the settings are wrong:\n{lines}", kind=FailureKind.INVALID) from None


def advice_on_address(settings: Settings, variable: str, otherwise: str) -> str:
    """What to do about a server that cannot be used: `otherwise`, where its address was given.

    Without an address `dev` may be meant, which is found in its own folder alone, and while it runs. `variable` is the
    setting with the address.
    """
    if sets_an_address(settings):
        return otherwise
    ended = ended_dev(Path.cwd())
    if ended is None:
        missing = "no address is set, and no dev runs in this folder or above it"
        return f"{missing}: set {variable}, or start saga-service dev"
    return f"no address is set, and the dev of {ended} has ended: start it again, or set {variable}"
