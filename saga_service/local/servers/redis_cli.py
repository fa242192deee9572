"""A redis-cli for a machine that has none: one command from its arguments, or commands at a prompt, one a line.

`python -m saga_service.local.servers.redis_cli -u URL [COMMAND [ARGUMENT ...]]`
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from saga_service.streams.connection import ask
from saga_service.wire.transport import TransportError

USAGE = "usage: python -m saga_service.local.servers.redis_cli -u URL [COMMAND [ARGUMENT ...]]"
STAR_ADVICE = "a shell puts the names of files in the place of *: write '*' behind XADD"


def main(arguments: list[str]) -> int:
    match arguments:
        case ["-u", url]:
            return _converse(url)
        case ["-u", url, *command]:
            return _execute(url, command, STAR_ADVICE)
    print(USAGE, file=sys.stderr)  # noqa: T201  # a command line program speaks by print
    return 2


def _converse(url: str) -> int:
    """Carry out the lines of standard input. Returns 1 where one of them failed and nobody was there to see it."""
    codes = [_execute_line(url, line) for line in _lines(url)]
    return 0 if sys.stdin.isatty() else max(codes, default=0)


def _lines(url: str) -> Iterator[str]:
    prompt = ""
    if sys.stdin.isatty():
        prompt = f"{urlsplit(url).netloc.rpartition('@')[2]}> "
        with suppress(ImportError):
            import readline  # noqa: F401  # gives `input` its history and its keys
    while True:
        try:
            line = input(prompt)
        except (EOFError, KeyboardInterrupt):
            return
        if line.strip() in ("exit", "quit"):
            return
        yield line


def _execute_line(url: str, line: str) -> int:
    try:
        command = shlex.split(line)
    except ValueError as error:
        return _fail(str(error))
    return _execute(url, command) if command else 0


def _execute(url: str, command: Sequence[str], advice_for_ids: str | None = None) -> int:
    try:
        _show(ask(url, *command))
    except TransportError as error:
        is_of_star = advice_for_ids is not None and command[0].upper() == "XADD" and "stream ID" in str(error)
        return _fail(f"{error}; {advice_for_ids}" if is_of_star else str(error))
    return 0


def _fail(why: str) -> int:
    print(f"(error) {why}", file=sys.stderr)  # noqa: T201  # as above
    return 1


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
