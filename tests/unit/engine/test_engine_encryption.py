"""A service with a cipher: what leaves it is encrypted, and a saga that cannot be decrypted troubles no other."""

from __future__ import annotations

from collections.abc import Sequence

from saga_service.core.ids import SagaId, command_id
from saga_service.core.state import SagaState
from saga_service.core.vocabulary import Direction, SagaStatus
from saga_service.wire.encryption import UnknownKey
from saga_service.wire.events import write_event
from saga_service.wire.replies import write_success
from tests.support.builders import definition, delivered
from tests.support.ciphers import MARKER, OF_NEW
from tests.support.fakes import NAMES, FaultyStore, ServiceInMemory, saga_id, start, success

CHARGE_ALONE = definition("charge")


class StoreWithoutAKey(FaultyStore):
    """The key of one saga is not known here."""

    def __init__(self, undecryptable: SagaId) -> None:
        super().__init__()
        self.undecryptable = undecryptable

    async def load(self, saga_ids: Sequence[SagaId]) -> list[SagaState]:
        if self.undecryptable in saga_ids:
            raise UnknownKey(f"the stored input of saga {self.undecryptable} is encrypted with key 'lost'")
        return await super().load(saga_ids)


async def test_every_message_is_encrypted_and_the_core_works_on_plain_values() -> None:
    service = ServiceInMemory(defined=CHARGE_ALONE, cipher=OF_NEW)
    event = write_event(NAMES.events, "order", {"name": MARKER}, key="order-1", cipher=OF_NEW)
    command = command_id(saga_id(), "charge", Direction.ACTION, 1)
    reply = write_success(NAMES.replies, command, saga_id(), {"at": MARKER}, OF_NEW)
    began = await service.process(delivered(event, "1700-1"))
    ended = await service.process(delivered(reply, "1800-0"))

    state = service.store.sagas[saga_id()]
    assert state.status is SagaStatus.COMPLETED
    assert (state.input, state.steps[0].output) == ({"name": MARKER}, {"at": MARKER})
    sent = [*began.messages, *ended.messages]
    assert [message.stream for message in sent] == ["saga:commands:service", "saga:outcomes"]
    assert [str(message).count("$encrypted") for message in sent] == [1, 1]
    assert MARKER not in str(sent)


async def test_a_saga_that_cannot_be_decrypted_costs_one_dead_letter() -> None:
    store = StoreWithoutAKey(saga_id(2))
    await ServiceInMemory(store).process(start(1), start(2), start(3))
    service = ServiceInMemory(store)
    await service.take(*(success("reserve", number, entry_id=f"1800-{number}") for number in (1, 2, 3)))

    [letter] = store.dead_letters.values()
    assert (letter.stream, letter.entry_id) == (NAMES.replies, "1800-2")
    assert letter.reason == f"the stored input of saga {saga_id(2)} is encrypted with key 'lost'"
    assert [store.sagas[saga_id(number)].revision for number in (1, 2, 3)] == [2, 1, 2]
