"""Encrypted text is decrypted again, in its context and no other, with a key that is known and with no other."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from saga_service.encryption import DecryptionFailed, EncryptionKey, UnknownKey, read_keys
from saga_service.encryption.aes_gcm import AesGcmCipher
from tests.support.paths import ROOT

DOCUMENT = ROOT / "docs" / "encryption.md"
OLD, NEW = EncryptionKey("2026a", b"a" * 32), EncryptionKey("2026b", b"b" * 32)
CONTEXT = "output\0saga\0charge"


@given(st.binary(max_size=2_000), st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_encrypted_comes_out_as_it_went_in(plain: bytes, context: str) -> None:
    cipher = AesGcmCipher([NEW])
    assert cipher.decrypt(cipher.encrypt(plain, context), context) == plain


def test_the_same_value_is_never_encrypted_to_the_same_text() -> None:
    cipher = AesGcmCipher([NEW])
    assert len({cipher.encrypt(b"{}", CONTEXT) for _ in range(100)}) == 100


@given(st.data())
def test_a_text_that_was_altered_anywhere_is_refused(data: st.DataObject) -> None:
    cipher = AesGcmCipher([NEW])
    key_id, _, encoded = cipher.encrypt(b'{"amount":5}', CONTEXT).partition(".")
    octets = bytearray(b64decode(encoded))
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DecryptionFailed, match="cannot be decrypted with key '2026b'"):
        cipher.decrypt(f"{key_id}.{b64encode(octets).decode()}", CONTEXT)


@pytest.mark.parametrize("context", ["output\0other saga\0charge", "output\0saga\0ship", "input\0saga", ""])
def test_a_text_that_was_moved_elsewhere_is_refused(context: str) -> None:
    cipher = AesGcmCipher([NEW])
    with pytest.raises(DecryptionFailed, match="it belongs elsewhere"):
        cipher.decrypt(cipher.encrypt(b"{}", CONTEXT), context)


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    encrypted_before = AesGcmCipher([OLD]).encrypt(b"before", CONTEXT)
    rotated = AesGcmCipher([NEW, OLD])
    assert rotated.decrypt(encrypted_before, CONTEXT) == b"before"
    assert rotated.encrypt(b"after", CONTEXT).startswith("2026b.")


def test_a_key_that_is_not_known_is_named() -> None:
    with pytest.raises(UnknownKey, match="encrypted with key '2026a', which is not known here; known keys: 2026b"):
        AesGcmCipher([NEW]).decrypt(AesGcmCipher([OLD]).encrypt(b"{}", CONTEXT), CONTEXT)


def test_another_key_under_a_known_id_opens_nothing() -> None:
    impostor = EncryptionKey(NEW.id, OLD.secret)
    with pytest.raises(DecryptionFailed, match="another key has this id"):
        AesGcmCipher([NEW]).decrypt(AesGcmCipher([impostor]).encrypt(b"{}", CONTEXT), CONTEXT)


@pytest.mark.parametrize("text", ["2026b.", "2026b.!!!", "2026b.AAAA", "2026b.\u00e9", "2026b"])
def test_what_no_cipher_wrote_is_refused(text: str) -> None:
    with pytest.raises(DecryptionFailed, match="no base64 of a nonce"):
        AesGcmCipher([NEW]).decrypt(text, CONTEXT)


def test_without_a_key_there_is_no_cipher() -> None:
    with pytest.raises(ValueError, match="no key to encrypt with"):
        AesGcmCipher([])


def _of_the_document(name: str) -> str:
    found = re.search(rf"^{name}: +(.+)$", DOCUMENT.read_text(), re.MULTILINE)
    assert found, f"docs/encryption.md gives no {name}"
    return found[1]


def test_the_test_vector_in_the_documents_opens() -> None:
    cipher = AesGcmCipher(read_keys(_of_the_document("key")))
    context = _of_the_document("context").replace("<0>", "\0")
    assert cipher.decrypt(_of_the_document("encrypted"), context).decode() == _of_the_document("plain")


def test_the_steps_that_the_documents_tell_make_the_test_vector() -> None:
    """By the library's own parts and none of ours, as somebody would who has only the document."""
    secret = b64decode(_of_the_document("key").partition(":")[2])
    context = _of_the_document("context").replace("<0>", "\0").encode()
    nonce = bytes.fromhex(_of_the_document("nonce"))
    derived = HKDF(SHA256(), 32, salt=None, info=context).derive(secret)
    assert derived.hex() == _of_the_document("derived key")
    octets = nonce + AESGCM(derived).encrypt(nonce, _of_the_document("plain").encode(), context)
    assert f"2026b.{b64encode(octets).decode()}" == _of_the_document("encrypted")
