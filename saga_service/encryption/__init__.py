"""Keys, the default codec, and how a process comes to the codec of its settings.

`keys` (how keys are written), `aes_gcm` (the default codec, which needs the extra `encryption`), `loading` (settings to
codec). What is sealed, and where each value belongs, is in `saga_service.wire.encryption`.
"""

from saga_service.encryption.keys import EncryptionKey, read_keys
from saga_service.encryption.loading import CipherNotLoaded, load_cipher
from saga_service.wire.encryption import Cipher, DecryptionFailed, UnknownKey, encrypt_event_data

__all__ = [
    "Cipher",
    "CipherNotLoaded",
    "DecryptionFailed",
    "EncryptionKey",
    "UnknownKey",
    "encrypt_event_data",
    "load_cipher",
    "read_keys",
]
