"""Encrypted values, as commands show them: decrypted where the key is there, else named."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from saga_service.cli.console.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from saga_service.cli.access.views import SagaRow, SagaStory
    from saga_service.settings import Settings
    from saga_service.wire.encryption import Cipher


def cipher_of(settings: Settings) -> Cipher | None:
    """Raises CommandFailed where the settings name one that cannot be had."""
    from saga_service.encryption import CipherNotLoaded, load_cipher

    try:
        return load_cipher(
            settings.encryption_keys.get_secret_value(),
            settings.encryption_cipher,
            encrypt=settings.encryption_enabled,
        )
    except CipherNotLoaded as error:
        raise CommandFailed(str(error), ExitCode.USAGE) from None


def decrypted_saga(saga: SagaRow, cipher: Cipher | None) -> SagaRow:
    """The saga with its input as a person reads it."""
    from saga_service.wire.encryption import INPUT

    return replace(saga, input=_shown(saga.input, cipher, INPUT, saga.id))


def decrypted_story(story: SagaStory, cipher: Cipher | None) -> SagaStory:
    """The story with input, outputs and signals' data as a person reads them."""
    from saga_service.wire.encryption import OUTPUT, SIGNAL

    steps = [
        replace(step, output=_shown(step.output, cipher, OUTPUT, story.saga.id, step.step)) for step in story.steps
    ]
    signals = [
        replace(each, data=_shown(each.data, cipher, SIGNAL, story.saga.id, each.name, each.signal_id))
        for each in story.signals
    ]
    children = [decrypted_saga(child, cipher) for child in story.children]
    return replace(story, saga=decrypted_saga(story.saga, cipher), steps=steps, signals=signals, children=children)


def _shown(value: Any, cipher: Cipher | None, *context: str) -> Any:
    """Any: whatever the author's data is."""
    import orjson

    from saga_service.wire.encryption import DecryptionFailed, decrypt_value, is_encrypted, key_id

    if not isinstance(value, dict) or not is_encrypted(value):
        return value
    try:
        return orjson.loads(decrypt_value(value, cipher, *context))
    except DecryptionFailed:
        return f"encrypted (key {key_id(value)})"
