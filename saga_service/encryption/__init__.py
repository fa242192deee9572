"""Keys, the default cipher, and the way from a process's settings to its cipher.

`keys` (how keys are written), `aes_gcm` (the default cipher, which needs the extra `encryption`), `loading` (from
settings to a cipher). `saga_service.wire.encryption` has the shape of encrypted values and the context of each.
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
