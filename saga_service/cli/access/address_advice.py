"""Advice on a server that cannot be used: what to check, or that no address of one was given."""

from __future__ import annotations

from pathlib import Path

from saga_service.local.dev_record import ended_dev
from saga_service.settings import Settings, sets_an_address


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
