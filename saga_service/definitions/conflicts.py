"""What two sagas cannot both have: a name, an event type that starts them, a stream that starts them.

It is asked of the sagas as they were written, so that one with errors of its own takes part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from saga_service.definitions.problems import Path, Problem, shown
from saga_service.definitions.written import Written, mappings
from saga_service.wire.keys import StreamNames

_Start = tuple[str, str]
"""What starts a saga: `event_type` or `stream`, and which."""

_NAME: Path = ("name",)


def conflicts(all_written: Sequence[Written], names: StreamNames) -> Iterator[Problem]:
    """Everything that starts a saga and starts an earlier one already, or is a stream of the service's own."""
    holders: dict[_Start, tuple[Written, Path]] = {}
    for written in all_written:
        for path, start in _starts(written):
            word, value = start
            holder, held = holders.setdefault(start, (written, path))
            if holder is not written:
                text = f"is {shown(value)}, {_use(path, held)} at {holder.place_of(held)}; change one of them"
                yield written.problem(path, text)
            elif word == "stream" and _is_ours(value, names):
                text = f"is {shown(value)}, a stream of the service itself; name a stream that others write"
                yield written.problem(path, text)


def _use(path: Path, held: Path) -> str:
    return "as is the name of the saga" if path == held == _NAME else "which starts the saga"


def _starts(written: Written) -> Iterator[tuple[Path, _Start]]:
    """A saga's own name is an event type: so names are unique where event types are."""
    content = written.content
    if not isinstance(content, dict):
        return
    if isinstance(content.get("name"), str):
        yield _NAME, ("event_type", content["name"])
    for position, trigger in enumerate(mappings(content.get("triggers"))):
        for word in ("event_type", "stream"):
            if isinstance(trigger.get(word), str):
                yield ("triggers", position, word), (word, trigger[word])


def _is_ours(stream: str, names: StreamNames) -> bool:
    own = (names.events, names.replies, names.outcomes, names.dead_letters)
    return stream in own or stream.startswith(names.commands(""))
