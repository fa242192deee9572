"""The definitions that a command works with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from saga_service.cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from saga_service.definitions import Catalog


def load_catalog(sources: Sequence[str], prefix: str, code: ExitCode = ExitCode.USAGE) -> Catalog:
    """`prefix` begins the names of the service's own streams, which no saga may take for a trigger.

    Raises CommandFailed, with `code`, where there are no sources, or with all that is wrong in them.
    """
    from saga_service.definitions import DefinitionErrors, load_definitions
    from saga_service.wire.keys import StreamNames

    if not sources:
        raise CommandFailed(
            "no definitions are given; name YAML files or Python modules, or set SAGA_DEFINITIONS", ExitCode.USAGE
        )
    try:
        return load_definitions(sources, StreamNames(prefix))
    except DefinitionErrors as error:
        raise CommandFailed(str(error), code) from None
