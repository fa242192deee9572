"""Dead letters put back where they came from, or dropped: any number of them, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from saga_service.admin.failure_kinds import Failure
from saga_service.base.clock import now_ms
from saga_service.store.dead_letters import DeadLetterBox
from saga_service.store.requests import PostgresRequests
from saga_service.streams.connection import RedisClient
from saga_service.streams.pipeline import Command, send
from saga_service.wire.dead_letters import DeadLetter, raw_pairs
from saga_service.wire.transport import NO_STREAMS, TransportError


@dataclass(frozen=True, slots=True)
class Replayed:
    """A dead letter, and the new entry or request that is its copy."""

    id: int
    stream: str
    entry_id: str


class Replay:
    """Puts dead letters back, one batch after the other; each was noted as replayed once it was put back.

    A crash between the two makes a second copy of one batch at worst, and loses nothing.
    """

    def __init__(self, box: DeadLetterBox, requests: PostgresRequests, client: RedisClient) -> None:
        self._box = box
        self._requests = requests
        self._client = client

    async def batch(self, numbers: Sequence[int]) -> list[Replayed]:
        """Put back those that are still there, those of each stream in the order of their numbers.

        Raises Failure where one cannot be put back. Those before it in the batch are noted as replayed.
        """
        letters = await self._box.dead_letters(numbers)
        by_sql = {number: letter for number, letter in letters.items() if letter.stream in NO_STREAMS}
        by_stream = {number: letter for number, letter in letters.items() if number not in by_sql}
        return sorted(
            [*await self._to_streams(by_stream), *await self._to_requests(by_sql)], key=lambda replayed: replayed.id
        )

    async def _to_streams(self, letters: dict[int, DeadLetter]) -> list[Replayed]:
        replies = await send(self._client, [_xadd(letter) for letter in letters.values()])
        done = [
            Replayed(number, letter.stream, reply.decode())
            for (number, letter), reply in zip(letters.items(), replies, strict=True)
            if isinstance(reply, bytes)
        ]
        await self._box.mark_replayed([replayed.id for replayed in done], now_ms())
        refusal = next((reply for reply in replies if isinstance(reply, TransportError)), None)
        if refusal is not None:
            raise Failure(f"Redis refuses {len(replies) - len(done)} of the entries: {refusal}")
        return done

    async def _to_requests(self, letters: dict[int, DeadLetter]) -> list[Replayed]:
        fields = {number: _request(number, letter) for number, letter in letters.items()}
        request_ids = await self._requests.replay(fields, now_ms())
        return [Replayed(number, letters[number].stream, str(request_id)) for number, request_id in request_ids.items()]


def _xadd(letter: DeadLetter) -> Command:
    return ("XADD", letter.stream, "*", *(part for pair in raw_pairs(letter.raw) for part in pair))


def _request(number: int, letter: DeadLetter) -> dict[str, str]:
    try:
        return {name.decode(): value.decode() for name, value in raw_pairs(letter.raw)}
    except UnicodeDecodeError:
        # Somebody has written to the stream of dead letters in the service's name.
        raise Failure(f"dead letter {number} says that it came by SQL, but is not text", "drop it") from None
