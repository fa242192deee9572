"""From the items of one batch to what they mean, with all that is no event set aside."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from saga_service.core.definition import Definition
from saga_service.core.effects import Verdict
from saga_service.core.events import Event
from saga_service.engine.decoding import Announced, Decoder, Received, Reported, Unlearned
from saga_service.engine.patience import Patience
from saga_service.engine.ports import Answered, Early, Records
from saga_service.wire.dead_letters import DeadLetter
from saga_service.wire.entries import Entry

Item = Entry | Event
"""What a batch is made of: an entry off a stream, or an event that came by none (a timer's, a recovery's)."""


@dataclass(slots=True)
class Decoded:
    received: list[Received] = field(default_factory=list)
    unlearned: list[Unlearned] = field(default_factory=list)
    reported: list[DeadLetter] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    handled: dict[str, list[str]] = field(default_factory=dict)
    """Entries that are to be acknowledged, by stream."""
    learned: list[Definition] = field(default_factory=list)
    """Found on record, for what is not deployed here."""
    turned_down: list[tuple[DeadLetter, Answered]] = field(default_factory=list)
    """Of what waited in Postgres: dead letters, each with the answer."""
    early: list[Early] = field(default_factory=list)
    """Of types that only other replicas know, to be looked at again: one of them may."""

    def add(self, entry: Entry, letter: DeadLetter) -> None:
        if entry.kept is None:
            self.dead_letters.append(letter)
        else:
            answer = Answered(entry.kept.number, Verdict.REFUSED.value, letter.reason, None)
            self.turned_down.append((letter, answer))

    def without_requests(self) -> Decoded:
        return Decoded(
            received=[item for item in self.received if item.entry is None or item.entry.kept is None],
            reported=self.reported,
            dead_letters=self.dead_letters,
            handled=self.handled,
            early=[early for early in self.early if early.entry.kept is None],
        )


class BatchDecoder:
    """`records` tell what other replicas have deployed; without them that is unknown."""

    def __init__(
        self, decoder: Decoder, records: Records | None, patience: Patience, now_ms: Callable[[], int]
    ) -> None:
        self._decoder = decoder
        self._records = records
        self._patience = patience
        self._now_ms = now_ms

    def decode(self, items: Iterable[Item]) -> Decoded:
        decoded, now_ms = Decoded(), self._now_ms()
        for item in _each_request_once(items):
            if not isinstance(item, Entry):
                decoded.received.append(Received(item, None))
                continue
            if item.kept is None:
                decoded.handled.setdefault(item.stream, []).append(item.id)
            result = self._decoder.decode(item, now_ms)
            match result:
                case Received():
                    decoded.received.append(result)
                case Reported():
                    decoded.reported.append(result.letter)
                case Announced():
                    pass
                case Unlearned():
                    decoded.unlearned.append(result)
                case DeadLetter():
                    decoded.add(item, result)
        return decoded

    async def learn(self, decoded: Decoded) -> None:
        """Decode the rest. What is not deployed here may be so elsewhere, or may have been: sagas that began with it
        end with it, and what begins with it waits for a replica that has it. Raises StoreUnavailable."""
        types = {each.unknown.event_type for each in decoded.unlearned if each.unknown.event_type}
        names = types | {each.unknown.child for each in decoded.unlearned if each.unknown.child}
        on_record = {} if self._records is None else await self._records.newest(names)
        waiting = {} if self._records is None or not types else await self._records.waiting_for(types)
        sagas = {name: blueprint for name, blueprint in on_record.items() if blueprint is not None}
        decoded.learned = [blueprint.definition for blueprint in sagas.values()]
        now_ms = self._now_ms()
        while decoded.unlearned:
            unlearned = decoded.unlearned.pop()
            entry, unknown = unlearned.entry, unlearned.unknown
            result = self._decoder.decode_learned(unlearned, now_ms, sagas, waiting)
            only_others_can = isinstance(result, DeadLetter) or unknown.child not in {"", *sagas}
            on_others = unknown.event_type in on_record or unknown.child in on_record
            if only_others_can and on_others and self._patience.lasts(entry, now_ms):
                decoded.early.append(self._patience.early(entry, now_ms))
            elif isinstance(result, Received):
                decoded.received.append(result)
            else:
                decoded.add(entry, result)


def _each_request_once(items: Iterable[Item]) -> Iterable[Item]:
    """One that waited here for longer than its lease is claimed again, and may meet itself in a batch."""
    met: set[int] = set()
    for item in items:
        if isinstance(item, Entry) and item.kept is not None:
            if item.kept.number in met:
                continue
            met.add(item.kept.number)
        yield item
