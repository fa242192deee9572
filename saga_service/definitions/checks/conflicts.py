"""What two sagas cannot both have: a name, an event type that starts them, a stream that starts them; and what the
steps of one may not ask of another.

It is asked of the sagas as they were written, so that one with errors of its own takes part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saga_service.core.vocabulary import Kind
from saga_service.definitions.keywords import kind_of
from saga_service.definitions.problems import Path, Problem, closest, shown
from saga_service.definitions.sources.positions import Written, mappings
from saga_service.wire.stream_names import OWN_TYPES_PREFIX, StreamNames

_Start = tuple[str, str]
"""What starts a saga: `event_type` or `stream`, and which."""

_NAME: Path = ("name",)


def conflicts(all_written: Sequence[Written], names: StreamNames) -> Iterator[Problem]:
    """Everything that starts a saga and starts an earlier one already, or is the service's own; every signal that
    starts a saga; and every child saga that is not there, or cannot be a child."""
    holders: dict[_Start, _Holder] = {}
    for written in all_written:
        yield from _claimed_twice(written, holders, names)
    for written in all_written:
        yield from _misused_signals(written, holders)
    yield from _wrong_children(all_written)


@dataclass(frozen=True, slots=True)
class _Holder:
    written: Written
    path: Path

    @property
    def place(self) -> str:
        return self.written.place_of(self.path)


def _claimed_twice(written: Written, holders: dict[_Start, _Holder], names: StreamNames) -> Iterator[Problem]:
    for path, start in _starts(written):
        word, value = start
        holder = holders.setdefault(start, _Holder(written, path))
        if holder.written is not written:
            text = f"is {shown(value)}, {_use(path, holder.path)} at {holder.place}; change one of them"
            yield written.problem(path, text)
        elif word == "stream" and _is_ours(value, names):
            text = f"is {shown(value)}, a stream of the service itself; name a stream that others write"
            yield written.problem(path, text)
        elif word == "event_type" and value.startswith(OWN_TYPES_PREFIX):
            yield written.problem(path, _reserved(value))


def _use(path: Path, held: Path) -> str:
    return "as is the name of the saga" if path == held == _NAME else "which starts the saga"


def _reserved(value: str) -> str:
    return f"is {shown(value)}, and what begins with '{OWN_TYPES_PREFIX}' is the service's own; write another name"


def _starts(written: Written) -> Iterator[tuple[Path, _Start]]:
    """A saga's own name is an event type: so names are unique where event types are."""
    content = _content(written)
    if isinstance(content.get("name"), str):
        yield _NAME, ("event_type", content["name"])
    for position, trigger in enumerate(mappings(content.get("triggers"))):
        for word in ("event_type", "stream"):
            if isinstance(trigger.get(word), str):
                yield ("triggers", position, word), (word, trigger[word])


def _is_ours(stream: str, names: StreamNames) -> bool:
    own = (names.events, names.replies, names.outcomes, names.dead_letters)
    return stream in own or stream.startswith(names.commands(""))


def _content(written: Written) -> Mapping[str, Any]:
    return written.content if isinstance(written.content, dict) else {}


def _named(written: Written, word: str) -> Iterator[tuple[Path, str, Mapping[str, Any]]]:
    """The steps with a name at this word: the path to it, the name, and the step."""
    for position, step in enumerate(mappings(_content(written).get("steps"))):
        if isinstance(step.get(word), str):
            yield ("steps", position, word), step[word], step


# --------------------------------------------------------------------------------------------------------- signals


def _misused_signals(written: Written, holders: Mapping[_Start, _Holder]) -> Iterator[Problem]:
    for path, signal, _ in _named(written, "signal"):
        holder = holders.get(("event_type", signal))
        if holder is not None:
            text = f"is {shown(signal)}, an event type that starts the saga at {holder.place}; change one of them"
            yield written.problem(path, text)
        elif signal.startswith(OWN_TYPES_PREFIX):
            yield written.problem(path, _reserved(signal))


# -------------------------------------------------------------------------------------------------------- children


def _wrong_children(all_written: Sequence[Written]) -> Iterator[Problem]:
    by_name: dict[str, Written] = {}
    for written in all_written:
        name = _content(written).get("name")
        if isinstance(name, str):
            by_name.setdefault(name, written)
    told: set[frozenset[str]] = set()
    for written in all_written:
        for path, child, step in _named(written, "saga"):
            problem = _wrong_child(child, step, by_name)
            if problem is not None:
                word, text = problem
                yield written.problem((*path[:2], word), text)
            chain = _chain_back(child, written, by_name)
            if chain and frozenset(chain) not in told:
                told.add(frozenset(chain))
                yield written.problem(path, f"starts itself over again: {' -> '.join(chain)}; break the circle")


def _wrong_child(child: str, step: Mapping[str, Any], by_name: Mapping[str, Written]) -> tuple[str, str] | None:
    """The step's word that is wrong, and what to write."""
    if child not in by_name:
        hint = closest(child, list(by_name)) or f"; there are: {', '.join(by_name)}"
        return "saga", f"is {shown(child)}, and no saga of that name is among the definitions{hint}"
    if _has_pivot(by_name[child]) and kind_of(step) is Kind.COMPENSATABLE:
        text = f"must be 'pivot' or 'retriable': the child saga '{child}' has a pivot, and cannot be undone after it"
        return "kind", text
    return None


def _has_pivot(written: Written) -> bool:
    return any(kind_of(step) is Kind.PIVOT for step in mappings(_content(written).get("steps")))


def _chain_back(child: str, written: Written, by_name: Mapping[str, Written]) -> list[str]:
    """The names on the shortest way from the saga through this child back to itself; nothing where there is none."""
    name = _content(written).get("name")
    if not isinstance(name, str) or by_name.get(name) is not written:
        return []
    ways, seen = [[name, child]], {child}
    for way in ways:
        if way[-1] == name:
            return way
        inner = by_name.get(way[-1])
        further = [grandchild for _, grandchild, _ in _named(inner, "saga")] if inner else []
        new = [grandchild for grandchild in dict.fromkeys(further) if grandchild not in seen]
        seen.update(new)
        ways += [[*way, grandchild] for grandchild in new]
    return []
