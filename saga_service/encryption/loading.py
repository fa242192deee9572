"""The cipher of a process's settings."""

from __future__ import annotations

from saga_service.base.user_modules import NoSuchModule, import_user_module
from saga_service.encryption.keys import read_keys
from saga_service.wire.encryption import Cipher, DecryptOnly


class CipherNotLoaded(ValueError):
    """The settings give no usable cipher. The text says what is missing and what to do."""


def load_cipher(keys: str = "", factory: str | None = None, *, encrypt: bool = True) -> Cipher | None:
    """The cipher of SAGA_ENCRYPTION_KEYS, or the one that SAGA_ENCRYPTION_CIPHER names as `module:factory`; None
    where neither is set.

    With `encrypt` false the cipher decrypts only. A factory is called without arguments, and its exceptions pass
    through. Raises CipherNotLoaded.
    """
    cipher = _cipher_of_keys(keys) if factory is None else _cipher_of_factory(factory)
    return cipher if cipher is None or encrypt else DecryptOnly(cipher)


def _cipher_of_keys(keys: str) -> Cipher | None:
    try:
        known = read_keys(keys)
    except ValueError as error:
        raise CipherNotLoaded(f"SAGA_ENCRYPTION_KEYS: {error}") from None
    if not known:
        return None
    try:
        from saga_service.encryption.aes_gcm import AesGcmCipher
    except ImportError:
        raise CipherNotLoaded(
            "SAGA_ENCRYPTION_KEYS is set, and the library for it is missing: pip install 'saga-service[encryption]'"
        ) from None
    return AesGcmCipher(known)


def _cipher_of_factory(factory: str) -> Cipher:
    module_name, _, name = factory.partition(":")
    try:
        make = getattr(import_user_module(module_name), name, None)
    except NoSuchModule as error:
        raise CipherNotLoaded(f"SAGA_ENCRYPTION_CIPHER: {error}") from None
    if not callable(make):
        raise CipherNotLoaded(f"SAGA_ENCRYPTION_CIPHER: module '{module_name}' has no function '{name}'")
    cipher = make()
    if not (callable(getattr(cipher, "encrypt", None)) and callable(getattr(cipher, "decrypt", None))):
        raise CipherNotLoaded(
            f"SAGA_ENCRYPTION_CIPHER: '{factory}' makes a {type(cipher).__name__}, which has no encrypt and decrypt"
        )
    made: Cipher = cipher
    return made
