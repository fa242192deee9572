"""The outbox: the messages that a batch sends, and the rows that hold them until Redis has taken them."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from saga_service.core.effects import Command, Ended, ParentReply, Sent
from saga_service.core.fault_codes import MESSAGE_TOO_LARGE
from saga_service.core.ids import CommandName, command_id
from saga_service.core.state import Fault
from saga_service.core.vocabulary import Direction, Outcome
from saga_service.engine.fold import Folded
from saga_service.wire.children import write_child_request, write_parent_reply
from saga_service.wire.commands import write_command
from saga_service.wire.dead_letters import DeadLetter, announce_dead_letter
from saga_service.wire.encryption import Cipher
from saga_service.wire.entries import SERVER_ID_CHARACTERS, Message
from saga_service.wire.events import write_outcome
from saga_service.wire.replies import write_failure, write_success_without_output
from saga_service.wire.transport import StreamNames

_UTF_8_BYTES_MAX = 4
"""The most bytes of one character."""
_RAISE = "or raise SAGA_ENTRY_BYTES_MAX"


class OutboxRows:
    """The outbox rows of this process: those on their way to Redis, and those that Redis has taken.

    The next commit deletes the latter on its way; while nothing happens, the relay does.
    """

    def __init__(self) -> None:
        self._under_way: set[int] = set()
        self._published: list[int] = []
        self._refused: dict[int, list[Message]] = {}

    def begin(self, outbox_id: int) -> None:
        """The lane that committed the row begins to publish it. The relay passes it over until `end`."""
        self._under_way.add(outbox_id)

    def end(self, outbox_id: int, refused: list[Message] | None) -> None:
        """The lane is through with the row. The relay tries again what Redis refused; None for all of it, perhaps."""
        self._under_way.discard(outbox_id)
        if refused:
            self._refused[outbox_id] = refused
        elif refused is not None:
            self._published.append(outbox_id)

    def is_under_way(self, outbox_id: int) -> bool:
        return outbox_id in self._under_way

    def take_published(self) -> list[int]:
        """All rows that are to be deleted, for the one caller that deletes them now."""
        taken, self._published = self._published, []
        return taken

    def give_back(self, ids: Iterable[int]) -> None:
        """These rows were not deleted after all."""
        self._published.extend(ids)

    def take_refused(self) -> dict[int, list[Message]]:
        """Rows of which only these messages are left, for the one caller that writes that down."""
        taken, self._refused = self._refused, {}
        return taken


_ANY_SERVER_ID = "0" * SERVER_ID_CHARACTERS


class Outgoing:
    """What a batch sends, and through which outbox rows. Payloads are encrypted by `cipher`, if there is one."""

    def __init__(
        self, names: StreamNames, rows: OutboxRows, cipher: Cipher | None = None, entry_bytes_max: int = sys.maxsize
    ) -> None:
        self.rows = rows
        self._names = names
        self._cipher = cipher
        self._entry_bytes_max = entry_bytes_max

    def messages(self, folded: Folded, dead_letters: Iterable[DeadLetter]) -> list[Message]:
        names = self._names
        return [
            *(self.sent(sent) for sent in folded.commands),
            *(self.replied(reply) for reply in folded.replies),
            *(self._news(ended) for ended in folded.ended),
            # What came from the dead-letter stream is there already, and sent again would go round for ever.
            *(announce_dead_letter(letter, names) for letter in dead_letters if letter.stream != names.dead_letters),
        ]

    def sent(self, sent: Sent) -> Message:
        """A command, or a request to a child saga; where it is too large, the reply that it was not sent.

        A probe that cannot be sent says nothing about its action. A copy is sent whatever its size, because what was
        sent first was not too large then.
        """
        if isinstance(sent, Command):
            message = write_command(sent, self._names, self._cipher)
        else:
            message = write_child_request(sent, self._names, self._cipher)
        excess = None if sent.is_copy else self._excess(message)
        if excess is None:
            return message
        command = _name_of(sent)
        fault = Fault(MESSAGE_TOO_LARGE, f"the message would have {excess}; send less by the step's 'input', {_RAISE}")
        outcome = Outcome.FAILED if command.direction is Direction.PROBE else Outcome.REJECTED
        return write_failure(self._names.replies, command_id(*command), command.saga_id, outcome, fault)

    def replied(self, reply: ParentReply) -> Message:
        """A child saga's reply to its parent; without its output where that is too large."""
        message = write_parent_reply(reply, self._names, self._cipher)
        excess = self._excess(message)
        if excess is None or reply.fault is not None:
            return message
        answered, text = command_id(*reply.command), f"the outputs of the child saga would make a reply of {excess}"
        fault = Fault(MESSAGE_TOO_LARGE, f"{text}; have its steps return less, {_RAISE}")
        return write_success_without_output(self._names.replies, answered, reply.command.saga_id, fault)

    def _news(self, ended: Ended) -> Message:
        message = write_outcome(ended, self._names, self._cipher)
        excess = self._excess(message)
        if excess is None or not ended.outputs:
            return message
        reason = f"the event would have {excess}; saga.steps has the outputs"
        return write_outcome(ended, self._names, data_left_out=reason)

    def _excess(self, message: Message) -> str | None:
        """The size of a message that is larger than an entry may be, in words; None for any other."""
        if sum(map(len, message.fields)) * _UTF_8_BYTES_MAX <= self._entry_bytes_max:
            return None
        size_bytes = sum(len(part.encode()) for part in message.fields_on(_ANY_SERVER_ID))
        if size_bytes <= self._entry_bytes_max:
            return None
        excess_bytes = size_bytes - self._entry_bytes_max
        return f"{size_bytes:,} bytes, {excess_bytes:,} more than the {self._entry_bytes_max:,} allowed"


def _name_of(sent: Sent) -> CommandName:
    if isinstance(sent, Command):
        return CommandName(sent.saga_id, sent.step, sent.direction, sent.attempt)
    return sent.command
