"""A redis-cli for a machine that has none: `python -m saga_service.local.servers.redis_cli -u URL COMMAND ...`."""

from __future__ import annotations

import sys

from saga_service.streams.connection import ask
from saga_service.wire.transport import TransportError

USAGE = "usage: python -m saga_service.local.servers.redis_cli -u URL COMMAND [ARGUMENT ...]"


def main(arguments: list[str]) -> int:
    match arguments:
        case ["-u", url, command, *rest]:
            return _execute(url, [command, *rest])
    print(USAGE, file=sys.stderr)  # noqa: T201  # a command line program speaks by print
    return 2


def _execute(url: str, command: list[str]) -> int:
    try:
        _show(ask(url, *command))
    except TransportError as error:
        print(f"(error) {error}", file=sys.stderr)  # noqa: T201  # as above
        return 1
    return 0


def _show(reply: object, depth: int = 0) -> None:
    if isinstance(reply, list | tuple):
        for part in reply:
            _show(part, depth + 1)
    elif isinstance(reply, dict):
        for name, value in reply.items():
            _show([name, value], depth)
    else:
        print("  " * max(depth - 1, 0) + ("(nil)" if reply is None else str(reply)))  # noqa: T201  # as above


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
