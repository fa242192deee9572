"""A process, as far as its probes and its metrics need to know it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from saga_service.base.liveness import Liveness
from saga_service.metrics.measurements import Measurements


@dataclass(frozen=True, slots=True)
class WatchedProcess:
    """What a process knows of itself while it runs."""

    stop: asyncio.Event
    """Set once the process shuts down."""
    standstill_s: float = 60.0
    """How long one of its loops may be at work without a move."""
    needs_postgres: bool = True
    """Whether the process reads the service's database: workers do without."""
    service: Liveness = field(default_factory=Liveness)
    """How the loops of the service are."""
    workers: Liveness = field(default_factory=Liveness)
    """How the loops of its workers are."""
    measurements: Measurements = field(default_factory=Measurements)
