"""The composition root: what is wired to what."""

from __future__ import annotations

from typing import Any, cast

import asyncpg
import pytest

from saga_service.app import Deployment
from saga_service.base.lifecycle import Shutdown
from saga_service.base.liveness import Liveness
from saga_service.definitions import load_definitions
from saga_service.settings import Settings
from saga_service.streams.connection import connect
from saga_service.streams.consumer import Consumer
from saga_service.streams.consumer_loop import ConsumerLoop
from saga_service.wire.transport import StreamNames

NAMES = StreamNames()
STREAM_OF_OTHERS = "saga_requests"


@pytest.fixture
def deployment() -> Deployment:
    """One that never speaks to a server."""
    client = connect("redis://127.0.0.1:1")
    streams = (NAMES.replies, NAMES.events, NAMES.dead_letters, STREAM_OF_OTHERS)
    return Deployment(
        settings=Settings(),
        catalog=load_definitions(["saga_service.demo.sagas"], NAMES),
        names=NAMES,
        cipher=None,
        pool=cast(asyncpg.Pool, None),
        client=client,
        consumers=tuple(Consumer(client, client, stream, "saga-service", "me") for stream in streams),
        shutdown=Shutdown(),
    )


def loop_of(deployment: Deployment, stream: str) -> ConsumerLoop:
    streams = [consumer.stream for consumer in deployment.consumers]
    loop: Any = deployment.consumer_loops()[streams.index(stream)]
    assert isinstance(loop, ConsumerLoop)
    return loop


@pytest.mark.parametrize("stream", [NAMES.replies, NAMES.events])
async def test_the_loss_of_a_stream_with_something_in_flight_goes_on_record(
    deployment: Deployment, stream: str
) -> None:
    assert loop_of(deployment, stream)._on_loss == deployment.recovery.record_losses


@pytest.mark.parametrize("stream", [NAMES.dead_letters, STREAM_OF_OTHERS])
async def test_the_loss_of_any_other_stream_leaves_nothing_to_send_again(deployment: Deployment, stream: str) -> None:
    assert loop_of(deployment, stream)._on_loss is None


async def test_lanes_take_replies_first_and_starts_last(deployment: Deployment) -> None:
    inlets = deployment.inlets
    taken_in_order = [inlets.replies, inlets.timers, inlets.requests, *inlets.beginnings]
    assert deployment.intake._inlets == taken_in_order


async def test_every_loop_of_the_service_is_one_object(deployment: Deployment) -> None:
    """What a lane expects reaches the timers that run, and what a reader loses the recovery that runs."""
    service: Any = deployment.service(Liveness())
    assert deployment.timers in service._feeders
    assert deployment.recovery in service._feeders
    assert len(service._lanes) == deployment.settings.lanes
