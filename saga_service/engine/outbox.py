"""The outbox: the messages that a batch sends, and the rows that hold them until Redis has taken them."""

from __future__ import annotations

from collections.abc import Iterable

from saga_service.core.effects import Command, Sent
from saga_service.engine.fold import Folded
from saga_service.wire.children import write_child_request, write_parent_reply
from saga_service.wire.commands import write_command
from saga_service.wire.dead_letters import DeadLetter, announce_dead_letter
from saga_service.wire.encryption import Cipher
from saga_service.wire.entries import Message
from saga_service.wire.events import write_outcome
from saga_service.wire.transport import StreamNames


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


class Outgoing:
    """What a batch sends, and through which outbox rows. Payloads are encrypted by `cipher`, if there is one."""

    def __init__(self, names: StreamNames, rows: OutboxRows, cipher: Cipher | None = None) -> None:
        self.rows = rows
        self._names = names
        self._cipher = cipher

    def messages(self, folded: Folded, dead_letters: Iterable[DeadLetter]) -> list[Message]:
        names, cipher = self._names, self._cipher
        return [
            *(self._sent(sent) for sent in folded.commands),
            *(write_parent_reply(reply, names, cipher) for reply in folded.replies),
            *(write_outcome(ended, names, cipher) for ended in folded.ended),
            # What came from the dead-letter stream is there already, and sent again would go round for ever.
            *(announce_dead_letter(letter, names) for letter in dead_letters if letter.stream != names.dead_letters),
        ]

    def _sent(self, sent: Sent) -> Message:
        if isinstance(sent, Command):
            return write_command(sent, self._names, self._cipher)
        return write_child_request(sent, self._names, self._cipher)
