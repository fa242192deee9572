"""Dead letters put back where they came from, or dropped: any number of them, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from saga_service.admin.failure_kinds import Failure
from saga_service.base.clock import now_ms
from saga_service.store.dead_letters import DeadLetterBox
from saga_service.store.requests import PostgresRequests
from saga_service.streams.connection import RedisClient
from saga_service.streams.pipeline import Command, Reply, send
from saga_service.wire.dead_letters import DeadLetter, raw_pairs
from saga_service.wire.transport import NO_STREAMS, TransportError, TransportUnavailable


@dataclass(frozen=True, slots=True)
class Replayed:
    """A dead letter, and the new entry or request that is its copy."""

    id: int
    stream: str
    entry_id: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a dead letter cannot be put back. One that is not lasting may be put back later."""

    reason: str
    is_lasting: bool


Outcome = Replayed | Refusal


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
        done = await self.try_batch(numbers)
        refused = [each for each in done.values() if isinstance(each, Refusal)]
        if refused:
            raise Failure(f"{len(refused)} of the entries cannot be put back: {refused[0].reason}")
        return sorted((each for each in done.values() if isinstance(each, Replayed)), key=lambda replayed: replayed.id)

    async def try_batch(self, numbers: Sequence[int]) -> dict[int, Outcome]:
        """Put back those that are still there, as far as that can be done; of each, the copy or the refusal.

        Raises TransportError where Redis cannot be asked, or does not answer.
        """
        letters = await self._box.dead_letters(numbers)
        by_sql = {number: letter for number, letter in letters.items() if letter.stream in NO_STREAMS}
        by_stream = {number: letter for number, letter in letters.items() if number not in by_sql}
        return await self._to_streams(by_stream) | await self._to_requests(by_sql)

    async def _to_streams(self, letters: dict[int, DeadLetter]) -> dict[int, Outcome]:
        replies = await send(self._client, [_xadd(letter) for letter in letters.values()])
        done: dict[int, Outcome] = {
            number: _outcome(number, letter, reply)
            for (number, letter), reply in zip(letters.items(), replies, strict=True)
        }
        await self._box.mark_replayed([number for number, each in done.items() if isinstance(each, Replayed)], now_ms())
        return done

    async def _to_requests(self, letters: dict[int, DeadLetter]) -> dict[int, Outcome]:
        read = {number: _request(number, letter) for number, letter in letters.items()}
        fields = {number: each for number, each in read.items() if not isinstance(each, Refusal)}
        refused = {number: each for number, each in read.items() if isinstance(each, Refusal)}
        request_ids = await self._requests.replay(fields, now_ms()) if fields else {}
        return refused | {
            number: Replayed(number, letters[number].stream, str(request_id))
            for number, request_id in request_ids.items()
        }


def _xadd(letter: DeadLetter) -> Command:
    return ("XADD", letter.stream, "*", *(part for pair in raw_pairs(letter.raw) for part in pair))


def _outcome(number: int, letter: DeadLetter, reply: Reply) -> Outcome:
    if isinstance(reply, TransportError):
        return Refusal(f"Redis refuses it: {reply}", is_lasting=not isinstance(reply, TransportUnavailable))
    assert isinstance(reply, bytes), "XADD answers with an id"
    return Replayed(number, letter.stream, reply.decode())


def _request(number: int, letter: DeadLetter) -> dict[str, str] | Refusal:
    try:
        return {name.decode(): value.decode() for name, value in raw_pairs(letter.raw)}
    except UnicodeDecodeError:
        # Somebody has written to the stream of dead letters in the service's name.
        return Refusal(f"dead letter {number} says that it came by SQL, but is not text; drop it", is_lasting=True)
