"""The one door: a batch of entries and events goes in, one commit is made of it, and what is to be published comes out.

    decode -> read -> fold -> commit -> (publish -> acknowledge, by the lane that called)

A crash between any two of these is harmless: before the commit nothing happened; after it the batch's messages are in
the outbox, and its entries, if delivered again, are repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from saga_service.base.backoff import Backoff
from saga_service.core.definition import Definition
from saga_service.core.effects import Command, Sent
from saga_service.engine.commit_log import log_commit
from saga_service.engine.decode import BatchDecoder, Decoded, Decoder, Item, Received
from saga_service.engine.deferral import DeferralPolicy
from saga_service.engine.errors import RequestsAnswered, RevisionConflict, StoreBroken, StoreRefused, StoreUnavailable
from saga_service.engine.fold import Folded, fold
from saga_service.engine.outbox import OutboxRows
from saga_service.engine.ports import Batch, DefinitionRegistry, Store
from saga_service.engine.saga_loader import SagaCache, SagaReader, Sagas
from saga_service.wire.children import write_child_request, write_parent_reply
from saga_service.wire.commands import write_command
from saga_service.wire.dead_letters import DeadLetter, announce_dead_letter, dead_letter
from saga_service.wire.encryption import Cipher, DecryptionFailed
from saga_service.wire.entries import Entry, Message
from saga_service.wire.outcomes import write_outcome
from saga_service.wire.stream_names import StreamNames

log = structlog.get_logger(__name__)
_NOT_OURS = (StoreRefused, DecryptionFailed)
"""What spoils an item alone, and would do so again."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What is durable now and still has to leave: messages to add, then entries to acknowledge, by stream."""

    outbox_id: int | None
    messages: list[Message]
    handled: dict[str, list[str]]
    wake_at_ms: int | None
    """The earliest moment at which some saga of the batch wants a look."""


class Engine:
    """`definitions` are those deployed here, by saga and version; older versions are learned from the store."""

    def __init__(
        self,
        store: Store,
        decoder: Decoder,
        definitions: Mapping[tuple[str, str], Definition],
        names: StreamNames,
        cache: SagaCache,
        outbox: OutboxRows,
        now_ms: Callable[[], int],
        cipher: Cipher | None = None,
        *,
        registry: DefinitionRegistry | None = None,
        deferral_max_ms: int = 0,
    ) -> None:
        self._store = store
        self._deferral = DeferralPolicy(deferral_max_ms)
        self._decoder = BatchDecoder(decoder, registry, self._deferral, now_ms)
        self._reader = SagaReader(store, cache, self._deferral, now_ms)
        self._definitions = dict(definitions)
        self._names = names
        self._cache = cache
        self._outbox = outbox
        self._now_ms = now_ms
        self._cipher = cipher

    async def process(self, items: Sequence[Item]) -> list[Committed]:
        """Take a batch all the way to its commit, however long Postgres is away.

        One result, or several where something in the batch had to be set apart. Raises StoreBroken.
        """
        try:
            return [await self._process_whole(items)]
        except StoreBroken:
            raise
        except Exception as error:  # noqa: BLE001 - whatever one item does to a batch, the others must go on
            # A batch stands or falls as one, so what spoils it is looked for by halves.
            if len(items) > 1:
                middle = len(items) // 2
                return [*await self.process(items[:middle]), *await self.process(items[middle:])]
            return [await self._once_more_alone(items[0], error)]

    async def _process_whole(self, items: Sequence[Item]) -> Committed:
        return await self._until_committed(self._decoder.decode(items))

    async def _until_committed(self, decoded: Decoded) -> Committed:
        trust_copies = True
        away, contended = Backoff(), Backoff(first_s=0.005, most_s=1.0)
        while True:
            try:
                if decoded.unresolved:
                    await self._decoder.resolve(decoded)
                    self._definitions |= {(each.name, each.version): each for each in decoded.resolved}
                folded = await self._read_and_fold(decoded.received, trust_copies)
                return await self._commit(decoded, folded)
            except RevisionConflict:
                # Nothing was written. Some copy was old, or some start a repeat: from here on this batch reads all.
                if not trust_copies:
                    await contended.wait()
                trust_copies = False
            except RequestsAnswered as error:
                # By a replica that was quicker than we, or by ourselves in a commit whose end we never heard of. A verb
                # without a step may mean another one by now. Those that are open come again after their lease.
                log.warning("some request was answered meanwhile; the batch goes on without any", error=str(error))
                decoded = decoded.without_requests()
            except StoreUnavailable as error:
                log.warning("postgres is away; a batch waits", error=str(error), events=len(decoded.received))
                await away.wait()

    # ------------------------------------------------------------------------------------------------ read and fold

    async def _read_and_fold(self, received: list[Received], trust_copies: bool) -> Folded:
        sagas = await self._reader.read(received, trust_copies)
        received = await self._reader.find_by_key(received, sagas)
        folded = await self._fold(received, sagas)
        doubtful = folded.without_effect - sagas.certain
        if not doubtful:
            return folded
        await self._reader.read_into(sagas, doubtful)
        return await self._fold(received, sagas)

    async def _fold(self, received: list[Received], sagas: Sagas) -> Folded:
        driven = {(state.saga, state.version) for state in sagas.states.values()}
        for saga, version in driven - self._definitions.keys():
            await self._learn(saga, version)
        return fold(received, sagas.states, self._definition, self._now_ms(), self._deferral)

    async def _learn(self, saga: str, version: str) -> None:
        definition = await self._store.definition(saga, version)
        if definition is not None:
            self._definitions[saga, version] = definition

    def _definition(self, saga: str, version: str) -> Definition | None:
        return self._definitions.get((saga, version))

    # ------------------------------------------------------------------------------------------------------- commit

    async def _commit(self, decoded: Decoded, folded: Folded) -> Committed:
        refused_requests = [letter for letter, _ in decoded.refused_requests]
        dead_letters = [*decoded.dead_letters, *refused_requests, *folded.dead_letters]
        messages = self._messages(folded, dead_letters)
        batch = Batch(
            folded.writes,
            folded.history,
            [*decoded.reported, *dead_letters],
            messages,
            results=[*(answer for _, answer in decoded.refused_requests), *folded.results],
            deferred=[*decoded.deferred, *folded.deferred],
        )
        outbox_id = None if batch.is_empty() else await self._write(batch)
        self._cache.keep(folded.states.values())
        log_commit(folded, dead_letters)
        wake_at_ms = min((write.state.wake_at_ms for write in folded.writes if write.state.wake_at_ms), default=None)
        return Committed(outbox_id, messages, decoded.handled, wake_at_ms)

    async def _write(self, batch: Batch) -> int | None:
        batch.published = self._outbox.take_published()
        try:
            outbox_id = await self._store.commit(batch)
        except BaseException:
            self._outbox.give_back(batch.published)
            raise
        if outbox_id is not None:
            self._outbox.begin(outbox_id)
        return outbox_id

    def _messages(self, folded: Folded, dead_letters: Iterable[DeadLetter]) -> list[Message]:
        return [
            *(self._sent(sent) for sent in folded.commands),
            *(write_parent_reply(reply, self._names, self._cipher) for reply in folded.replies),
            *(write_outcome(ended, self._names, self._cipher) for ended in folded.ended),
            # What came from the dead-letter stream is there already, and sent again would go round for ever.
            *(
                announce_dead_letter(letter, self._names)
                for letter in dead_letters
                if letter.stream != self._names.dead_letters
            ),
        ]

    def _sent(self, sent: Sent) -> Message:
        if isinstance(sent, Command):
            return write_command(sent, self._names, self._cipher)
        return write_child_request(sent, self._names, self._cipher)

    # ---------------------------------------------------------------------------------------------------- set apart

    async def _once_more_alone(self, item: Item, error: Exception) -> Committed:
        if not isinstance(error, _NOT_OURS):
            try:
                # What does not fail again was no fault of the item's.
                return await self._process_whole([item])
            except StoreBroken:
                raise
            except Exception as again:  # noqa: BLE001 - whatever it is, it is why the item is set apart
                error = again
        return await self._quarantine(item, error)

    async def _quarantine(self, item: Item, error: Exception) -> Committed:
        """The one item that cannot be processed goes to the dead letters, and everything else goes on."""
        ours = not isinstance(error, _NOT_OURS)
        traceback = error if ours else None
        log.error(
            "an item cannot be processed; it is set apart", item=_named(item), error=str(error), exc_info=traceback
        )
        if not isinstance(item, Entry):
            return Committed(None, [], {}, None)
        reason = _why(error)
        try:
            return await self._dead_letter(item, item, reason)
        except StoreBroken:
            raise
        except Exception as refusal:  # noqa: BLE001 - too large for Postgres, say
            log.error("an entry cannot be kept as it is; its fields are dropped", item=_named(item), error=str(refusal))
            return await self._dead_letter(
                item, replace(item, fields={}, repeated=()), f"{reason}; its fields could not be kept: {refusal}"
            )

    async def _dead_letter(self, item: Entry, kept: Entry, reason: str) -> Committed:
        buried = Decoded(handled={item.stream: [item.id]} if item.request is None else {})
        buried.add(item, dead_letter(kept, reason, self._now_ms()))
        return await self._until_committed(buried)


def _why(error: Exception) -> str:
    match error:
        case StoreRefused():
            return f"postgres refuses it: {error}"
        case DecryptionFailed():
            return str(error)
        case _:
            return f"internal error, please report: {error!r}"


def _named(item: Item) -> str:
    return f"{item.stream} {item.id}" if isinstance(item, Entry) else repr(item)
