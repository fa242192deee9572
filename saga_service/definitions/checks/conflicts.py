"""Checks between sagas: no two have one name, event type or stream, and signals and child sagas fit the others.

They look at the sagas as their authors wrote them, so that a saga with errors of its own takes part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saga_service.base.similar_names import closest_or_all
from saga_service.core.vocabulary import Kind
from saga_service.definitions.keywords import kind_of
from saga_service.definitions.problems import Path, Problem, SagaSource, mappings, shown
from saga_service.wire.transport import NO_STREAMS, OWN_TYPES_PREFIX, StreamNames

_Start = tuple[str, str]
"""A way to start a saga: `event_type` or `stream`, and its value."""

_NAME: Path = ("name",)


def conflicts(sources: Sequence[SagaSource], names: StreamNames) -> Iterator[Problem]:
    """Every conflict between the sagas, and with the service's own names.

    That is: what starts a saga and starts an earlier one already, or is the service's own; a signal that starts a saga;
    a child saga that does not exist, or cannot be a child.
    """
    holders: dict[_Start, _Holder] = {}
    for source in sources:
        yield from _claimed_twice(source, holders, names)
    for source in sources:
        yield from _misused_signals(source, holders)
    yield from _child_conflicts(sources)


@dataclass(frozen=True, slots=True)
class _Holder:
    source: SagaSource
    path: Path

    @property
    def place(self) -> str:
        return self.source.place_of(self.path)


def _claimed_twice(source: SagaSource, holders: dict[_Start, _Holder], names: StreamNames) -> Iterator[Problem]:
    for path, start in _starts(source):
        keyword, value = start
        holder = holders.setdefault(start, _Holder(source, path))
        if holder.source is not source:
            text = f"is {shown(value)}, {_use(path, holder.path)} at {holder.place}; change one of them"
            yield source.problem(path, text)
        elif keyword == "stream" and _is_ours(value, names):
            text = f"is {shown(value)}, a stream of the service itself; name a stream that others write"
            yield source.problem(path, text)
        elif keyword == "event_type" and value.startswith(OWN_TYPES_PREFIX):
            yield source.problem(path, _reserved(value))


def _use(path: Path, held: Path) -> str:
    return "as is the name of the saga" if path == held == _NAME else "which starts the saga"


def _reserved(value: str) -> str:
    return f"is {shown(value)}, and what begins with '{OWN_TYPES_PREFIX}' is the service's own; write another name"


def _starts(source: SagaSource) -> Iterator[tuple[Path, _Start]]:
    """Every way to start the saga. Its own name is an event type, so that names are unique where event types are."""
    content = _content(source)
    if isinstance(content.get("name"), str):
        yield _NAME, ("event_type", content["name"])
    for position, trigger in enumerate(mappings(content.get("triggers"))):
        for keyword in ("event_type", "stream"):
            if isinstance(trigger.get(keyword), str):
                yield ("triggers", position, keyword), (keyword, trigger[keyword])


def _is_ours(stream: str, names: StreamNames) -> bool:
    own = (names.events, names.replies, names.outcomes, names.dead_letters, *NO_STREAMS)
    return stream in own or stream.startswith(names.commands(""))


def _content(source: SagaSource) -> Mapping[str, Any]:
    return source.content if isinstance(source.content, dict) else {}


def _named(source: SagaSource, keyword: str) -> Iterator[tuple[Path, str, Mapping[str, Any]]]:
    """The steps with a name at this keyword: the path to it, the name, and the step."""
    for position, step in enumerate(mappings(_content(source).get("steps"))):
        if isinstance(step.get(keyword), str):
            yield ("steps", position, keyword), step[keyword], step


def _misused_signals(source: SagaSource, holders: Mapping[_Start, _Holder]) -> Iterator[Problem]:
    for path, signal, _ in _named(source, "signal"):
        holder = holders.get(("event_type", signal))
        if holder is not None:
            text = f"is {shown(signal)}, an event type that starts the saga at {holder.place}; change one of them"
            yield source.problem(path, text)
        elif signal.startswith(OWN_TYPES_PREFIX):
            yield source.problem(path, _reserved(signal))


def _child_conflicts(sources: Sequence[SagaSource]) -> Iterator[Problem]:
    by_name: dict[str, SagaSource] = {}
    for source in sources:
        name = _content(source).get("name")
        if isinstance(name, str):
            by_name.setdefault(name, source)
    reported: set[frozenset[str]] = set()
    for source in sources:
        for path, child, step in _named(source, "saga"):
            problem = _child_problem(child, step, by_name)
            if problem is not None:
                keyword, text = problem
                yield source.problem((*path[:2], keyword), text)
            chain = _chain_back(child, source, by_name)
            if chain and frozenset(chain) not in reported:
                reported.add(frozenset(chain))
                yield source.problem(path, f"starts itself over again: {' -> '.join(chain)}; break the circle")


def _child_problem(child: str, step: Mapping[str, Any], by_name: Mapping[str, SagaSource]) -> tuple[str, str] | None:
    """The step's keyword that is wrong, and what to write instead."""
    if child not in by_name:
        hint = closest_or_all(child, list(by_name), "there are")
        return "saga", f"is {shown(child)}, and no saga of that name is among the definitions{hint}"
    if _has_pivot(by_name[child]) and kind_of(step) is Kind.COMPENSATABLE:
        text = f"must be 'pivot' or 'retriable': the child saga '{child}' has a pivot, and cannot be undone after it"
        return "kind", text
    return None


def _has_pivot(source: SagaSource) -> bool:
    return any(kind_of(step) is Kind.PIVOT for step in mappings(_content(source).get("steps")))


def _chain_back(child: str, source: SagaSource, by_name: Mapping[str, SagaSource]) -> list[str]:
    """The names on the shortest way from the saga through this child back to itself; nothing where there is none."""
    name = _content(source).get("name")
    if not isinstance(name, str) or by_name.get(name) is not source:
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
