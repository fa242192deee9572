"""A worker's options as the settings have them."""

from __future__ import annotations

from saga_service.codec import load_codec
from saga_service.settings import Settings
from saga_service.worker.options import WorkerOptions


def worker_options(settings: Settings) -> WorkerOptions:
    """What `saga-service worker` and workers inside the service run with. Raises CodecNotLoaded."""
    return WorkerOptions(
        redis_url=settings.redis_url.get_secret_value(),
        prefix=settings.prefix,
        consumer=settings.consumer,
        concurrency=settings.worker_concurrency,
        read_block_ms=settings.read_block_ms,
        reclaim_idle_ms=settings.reclaim_idle_ms,
        reclaim_period_ms=settings.reclaim_period_ms,
        stop_grace_ms=settings.stop_grace_ms,
        reply_bytes_max=settings.data_bytes_max,
        codec=load_codec(
            settings.encryption_keys.get_secret_value(), settings.codec, sealing=settings.encryption_seals
        ),
    )
