"""Sealed values, as commands show them: opened where the key is there, else named."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from saga_service.cli.console.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    from saga_service.cli.access.views import SagaRow, SagaStory
    from saga_service.settings import Settings
    from saga_service.wire.encryption import Codec


def codec_of(settings: Settings) -> Codec | None:
    """Raises CommandFailed where the settings name one that cannot be had."""
    from saga_service.encryption import CodecNotLoaded, load_codec

    try:
        return load_codec(
            settings.encryption_keys.get_secret_value(), settings.codec, sealing=settings.encryption_seals
        )
    except CodecNotLoaded as error:
        raise CommandFailed(str(error), ExitCode.USAGE) from None


def opened_saga(saga: SagaRow, codec: Codec | None) -> SagaRow:
    """The saga with its input as a person reads it."""
    from saga_service.wire.encryption import INPUT

    return replace(saga, input=_shown(saga.input, codec, INPUT, saga.id))


def opened_story(story: SagaStory, codec: Codec | None) -> SagaStory:
    """The story with input, outputs and signals' data as a person reads them."""
    from saga_service.wire.encryption import OUTPUT, SIGNAL

    steps = [replace(step, output=_shown(step.output, codec, OUTPUT, story.saga.id, step.step)) for step in story.steps]
    signals = [
        replace(each, data=_shown(each.data, codec, SIGNAL, story.saga.id, each.name, each.signal_id))
        for each in story.signals
    ]
    children = [opened_saga(child, codec) for child in story.children]
    return replace(story, saga=opened_saga(story.saga, codec), steps=steps, signals=signals, children=children)


def _shown(value: Any, codec: Codec | None, *place: str) -> Any:
    """Any: whatever the author's data is."""
    import orjson

    from saga_service.wire.encryption import Unopenable, is_sealed, key_id, unseal

    if not isinstance(value, dict) or not is_sealed(value):
        return value
    try:
        return orjson.loads(unseal(value, codec, *place))
    except Unopenable:
        return f"sealed (key {key_id(value)})"
