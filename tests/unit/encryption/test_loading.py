"""From the settings to a cipher."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from saga_service.encryption import CipherNotLoaded, load_cipher
from saga_service.encryption.keys import fresh_key, write_key
from saga_service.wire.encryption import encrypts

FACTORY = """
class Reversing:
    def encrypt(self, plain, context):
        return "mine." + plain.decode()[::-1]

    def decrypt(self, text, context):
        return text.partition(".")[2][::-1].encode()

def make():
    return Reversing()

def make_nothing():
    return None
"""


def test_without_keys_and_factory_there_is_no_cipher() -> None:
    assert load_cipher() is None


def test_keys_make_the_default_cipher() -> None:
    cipher = load_cipher(write_key(fresh_key("k1")))
    assert cipher is not None
    assert cipher.decrypt(cipher.encrypt(b"plain", "here"), "here") == b"plain"


def test_a_factory_in_the_working_directory_makes_a_cipher_of_ones_own(directory: Path, module: str) -> None:
    (directory / f"{module}.py").write_text(FACTORY)
    cipher = load_cipher(factory=f"{module}:make")
    assert cipher is not None
    assert cipher.encrypt(b"abc", "") == "mine.cba"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("absent", "has no function 'absent'"),
        ("make_nothing", "makes a NoneType, which has no encrypt and decrypt"),
    ],
)
def test_a_factory_that_makes_no_cipher_is_refused(directory: Path, module: str, name: str, problem: str) -> None:
    (directory / f"{module}.py").write_text(FACTORY)
    with pytest.raises(CipherNotLoaded, match=problem):
        load_cipher(factory=f"{module}:{name}")


def test_a_module_that_is_not_there_is_named(directory: Path, module: str) -> None:
    with pytest.raises(CipherNotLoaded, match=f"no module '{module}'; it was looked for in {directory}"):
        load_cipher(factory=f"{module}:make")


def test_wrong_keys_are_refused() -> None:
    with pytest.raises(CipherNotLoaded, match="SAGA_ENCRYPTION_KEYS: key 1 must be ID:SECRET"):
        load_cipher("nonsense")


def test_a_missing_library_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "saga_service.encryption.aes_gcm", None)
    with pytest.raises(CipherNotLoaded, match=r"pip install 'saga-service\[encryption\]'"):
        load_cipher(write_key(fresh_key("k1")))


def test_without_encrypting_the_cipher_decrypts_only() -> None:
    key = write_key(fresh_key("k1"))
    encrypting, decrypting = load_cipher(key), load_cipher(key, encrypt=False)
    assert encrypting is not None
    assert decrypting is not None
    assert [encrypts(cipher) for cipher in (encrypting, decrypting, load_cipher(encrypt=False))] == [
        True,
        False,
        False,
    ]
    assert decrypting.decrypt(encrypting.encrypt(b"plain", "here"), "here") == b"plain"
