"""From the settings to a codec."""

from __future__ import annotations

from saga_service.base.user_modules import NoSuchModule, author_module
from saga_service.encryption.keys import read_keys
from saga_service.wire.encryption import Codec, OpensOnly


class CodecNotLoaded(ValueError):
    """The text says what is missing, and what to do."""


def load_codec(keys: str = "", factory: str | None = None, *, sealing: bool = True) -> Codec | None:
    """The codec of SAGA_ENCRYPTION_KEYS, or the one that SAGA_CODEC names as `module:factory`; None without either.

    Without `sealing` it opens only. A factory is called without arguments. Raises CodecNotLoaded; what goes wrong
    inside a factory comes as it is.
    """
    codec = _of_keys(keys) if factory is None else _made_by(factory)
    return codec if codec is None or sealing else OpensOnly(codec)


def _of_keys(keys: str) -> Codec | None:
    try:
        known = read_keys(keys)
    except ValueError as error:
        raise CodecNotLoaded(f"SAGA_ENCRYPTION_KEYS: {error}") from None
    if not known:
        return None
    try:
        from saga_service.encryption.aes_gcm import AesGcmCodec
    except ImportError:
        raise CodecNotLoaded(
            "SAGA_ENCRYPTION_KEYS is set, and the library for it is missing: pip install 'saga-service[encryption]'"
        ) from None
    return AesGcmCodec(known)


def _made_by(factory: str) -> Codec:
    module_name, _, name = factory.partition(":")
    try:
        make = getattr(author_module(module_name), name, None)
    except NoSuchModule as error:
        raise CodecNotLoaded(f"SAGA_CODEC: {error}") from None
    if not callable(make):
        raise CodecNotLoaded(f"SAGA_CODEC: module '{module_name}' has no function '{name}'")
    codec = make()
    if not (callable(getattr(codec, "seal", None)) and callable(getattr(codec, "open", None))):
        raise CodecNotLoaded(f"SAGA_CODEC: '{factory}' makes a {type(codec).__name__}, which has no seal and open")
    made: Codec = codec
    return made
