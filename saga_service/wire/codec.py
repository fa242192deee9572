"""What seals data and opens it again. The default one is `saga_service.codec.aes_gcm`; a team may bring its own."""

from __future__ import annotations

from typing import Protocol, TypeGuard


class Unopenable(Exception):
    """A sealed value cannot be opened here. The text goes on after the name of the value: `is sealed with key ...`."""


class UnknownKey(Unopenable):
    """The key is not known here. Nothing is wrong with the value."""


class Codec(Protocol):
    """Both are called while a batch is made, for every value, so neither may wait for a network: whoever keeps keys
    elsewhere fetches them when the codec is made."""

    def seal(self, plain: bytes, context: str) -> str:
        """Text that begins with the id of the key and a dot, so that one who cannot open it sees what is needed.

        `context` says where the value belongs; it is not part of the text.
        """
        ...

    def open(self, sealed: str, context: str) -> bytes:
        """What was sealed in the same context.

        Raises UnknownKey, and Unopenable where the text was altered or sealed in another context.
        """
        ...


class OpensOnly:
    """Opens what a codec has sealed; what is written stays plain. For the time in which processes come to have keys one
    after the other: who has them must not yet write what the others cannot read."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def seal(self, plain: bytes, context: str) -> str:
        raise TypeError("this codec opens only; ask `seals` first")

    def open(self, sealed: str, context: str) -> bytes:
        return self._codec.open(sealed, context)


def seals(codec: Codec | None) -> TypeGuard[Codec]:
    """Whether what is written is to be sealed."""
    return codec is not None and not isinstance(codec, OpensOnly)
