"""Keys as people write them, and what is said of wrong ones without ever repeating a secret."""

from __future__ import annotations

from base64 import b64encode

import pytest

from saga_service.encryption.keys import EncryptionKey, fresh_key, read_keys, write_key

SECRET = b64encode(b"s" * 32).decode()


def test_keys_are_read_in_their_order() -> None:
    keys = read_keys(f" 2026b:{SECRET} , 2026a:{SECRET},")
    assert keys == [EncryptionKey("2026b", b"s" * 32), EncryptionKey("2026a", b"s" * 32)]


def test_nothing_is_no_key() -> None:
    assert read_keys(" ") == []


def test_a_fresh_key_is_read_as_it_is_written_and_is_no_other() -> None:
    first, second = fresh_key("one"), fresh_key("one")
    assert read_keys(write_key(first)) == [first]
    assert first.secret != second.secret


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (SECRET, "key 1 must be ID:SECRET"),
        (f"a:{SECRET},b.c:{SECRET}", "key 2 must be ID:SECRET"),
        (f":{SECRET}", "key 1 must be ID:SECRET"),
        (f"{'x' * 41}:{SECRET}", "key 1 must be ID:SECRET"),
        (f"a:{SECRET[:-4]}", "the secret of key 'a' must be the base64 of 32 bytes"),
        (f"a:*{SECRET}", "the secret of key 'a' must be the base64 of 32 bytes"),
        (f"a:{SECRET},a:{SECRET}", "two keys have the id 'a'"),
    ],
)
def test_a_wrong_key_is_refused_without_repeating_it(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        read_keys(text)
    assert SECRET[:8] not in str(caught.value)


def test_a_key_does_not_show_its_secret() -> None:
    assert repr(EncryptionKey("a", b"s" * 32)) == "EncryptionKey(id='a')"
