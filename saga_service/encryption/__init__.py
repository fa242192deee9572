"""Keys, the default codec, and how a process comes to the codec of its settings.

`keys` (how keys are written), `aes_gcm` (the default codec, which needs the extra `encryption`), `loading` (settings to
codec). What is sealed, and where each value belongs, is in `saga_service.wire.encryption`.
"""

from saga_service.encryption.keys import EncryptionKey, read_keys
from saga_service.encryption.loading import CodecNotLoaded, load_codec
from saga_service.wire.encryption import Codec, UnknownKey, Unopenable, seal_event_data

__all__ = [
    "Codec",
    "CodecNotLoaded",
    "EncryptionKey",
    "UnknownKey",
    "Unopenable",
    "load_codec",
    "read_keys",
    "seal_event_data",
]
