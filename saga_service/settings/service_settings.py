"""The settings of the service and its servers: addresses, names of streams, batches, periods, retention."""

from __future__ import annotations

import os
import secrets
import socket

from pydantic import Field
from pydantic_settings import BaseSettings

from saga_service.settings.sources import (
    CommaSeparated,
    EncryptionKeys,
    FunctionName,
    PostgresUrl,
    ReadableKeys,
    RedisUrl,
    ServerUrl,
    StreamNamePart,
    WorkerNames,
)
from saga_service.wire.transport import PREFIX_DEFAULT


def _consumer_of_this_process() -> str:
    # Never the name of an earlier process: its pending entries are reclaimed, and are not this one's to answer for.
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


class ServiceSettings(BaseSettings):
    """What the service needs to know. `Settings` is all of it together."""

    postgres_dsn: PostgresUrl = Field(
        default=ServerUrl("postgresql://localhost:5432/saga"),
        description="Postgres, which stores every saga: `postgresql://user:password@host:5432/database`.",
    )
    postgres_pool_size: int = Field(default=8, ge=2, le=500, description="Connections to Postgres of one process.")
    postgres_statement_cache_size: int = Field(
        default=100,
        ge=0,
        le=10_000,
        description="Prepared statements kept for each connection. 0 for a pgbouncer in transaction mode below 1.21.",
    )
    postgres_timeout_ms: int = Field(
        default=30_000,
        ge=100,
        le=600_000,
        description="How long one statement, or the wait for a free connection, may take before it is given up.",
    )
    redis_url: RedisUrl = Field(
        default=ServerUrl("redis://localhost:6379/0"),
        description="Redis (or Valkey), which carries the streams: `redis://:password@host:6379/0`.",
    )
    startup_wait_s: float = Field(
        default=60.0, ge=0, le=86_400, description="How long to wait at start for Postgres and Redis to answer."
    )
    migrate_at_start: bool = Field(
        default=False, description="Bring the database schema up to date at start, as `saga-service migrate` does."
    )
    definitions: CommaSeparated = Field(
        default=(),
        description="Sources of the saga definitions, separated by commas: Python modules (`shop.sagas`) or YAML "
        "files.",
    )
    workers: WorkerNames = Field(
        default=(),
        description="Workers to run inside the service process, as `MODULE:worker`, separated by commas.",
    )
    stream_prefix: StreamNamePart = Field(
        default=PREFIX_DEFAULT,
        description="The beginning of the names of the service's streams. Each deployment on one Redis has its own, "
        "and a database of its own: one with another prefix is refused there. After a change on purpose: "
        "`saga-service migrate --rename`.",
    )
    consumer_group: StreamNamePart = Field(
        default="saga-service",
        description="The service's consumer group on its own streams, shared by all replicas.",
    )
    consumer_name: StreamNamePart = Field(
        default_factory=_consumer_of_this_process,
        description="This process's name in its consumer groups. No two processes may ever have the same.",
    )
    encryption_keys: ReadableKeys = Field(
        default=EncryptionKeys(""),
        description="Keys that encrypt inputs, outputs and all `data`: `2026b:<base64>,2026a:<base64>`. The first one "
        "encrypts, all decrypt; `saga-service keys make` makes one. See docs/encryption.md.",
    )
    encryption_enabled: bool = Field(
        default=True,
        description="`false`: encrypted values are decrypted, and nothing new is encrypted. For the time until every "
        "process has the keys, or to turn encryption off.",
    )
    encryption_cipher: FunctionName | None = Field(
        default=None,
        description="A function that makes a cipher of your own in place of those keys, as `MODULE:function`.",
    )
    batch_entries_max: int = Field(default=512, ge=1, le=10_000, description="Entries in one commit, at most.")
    batch_bytes_max: int = Field(
        default=8_388_608,
        ge=1_024,
        le=268_435_456,
        description="Bytes of entries in one commit, and bytes that wait for a commit from one stream, at most. "
        "A larger entry is committed alone.",
    )
    lanes: int = Field(
        default=2,
        ge=1,
        le=64,
        description="Batches processed at the same time, so that Postgres and Redis are both kept busy.",
    )
    intake_entries_max: int = Field(
        default=2_048,
        ge=1,
        le=1_000_000,
        description="Entries read and not yet committed, at most; at this number reading pauses.",
    )
    read_block_ms: int = Field(
        default=2_000, ge=10, le=60_000, description="How long one read waits for entries on an idle stream."
    )
    entry_bytes_max: int = Field(
        default=1_048_576,
        ge=1_024,
        le=268_435_456,
        description="The size of the largest entry that is accepted; a larger one becomes a dead letter.",
    )
    cached_sagas_max: int = Field(
        default=20_000,
        ge=0,
        le=10_000_000,
        description="Sagas kept in memory so that their next batch need not load them. 0 loads them each time.",
    )
    reclaim_idle_ms: int = Field(
        default=20_000,
        ge=100,
        le=86_400_000,
        description="An entry that a consumer has held this long without acknowledging is taken over by another. "
        "Keep it well below every step's time-out: a killed worker's commands are taken over after it.",
    )
    reclaim_period_ms: int = Field(
        default=5_000, ge=10, le=3_600_000, description="How often to look for entries to take over."
    )
    timers_poll_ms: int = Field(default=1_000, ge=10, le=60_000, description="How often to look for due timers.")
    timers_lease_ms: int = Field(
        default=10_000,
        ge=100,
        le=3_600_000,
        description="How long a due saga belongs to the replica that found it; after that any other may take it.",
    )
    timers_batch_sagas_max: int = Field(default=512, ge=1, le=10_000, description="Due sagas taken at once, at most.")
    requests_poll_ms: int = Field(
        default=100,
        ge=10,
        le=60_000,
        description="How often to look for requests by SQL (saga.start, saga.signal, saga.operate).",
    )
    requests_lease_ms: int = Field(
        default=10_000,
        ge=100,
        le=3_600_000,
        description="How long a request belongs to the replica that found it; after that any other may take it.",
    )
    deferral_max_ms: int = Field(
        default=60_000,
        ge=0,
        le=86_400_000,
        description="How long a signal or an operation for a saga that does not exist yet is deferred, and a start for "
        "a replica that has its definition. After that it is refused: a signal or an operation not before every start "
        "that was added meanwhile has been handled.",
    )
    outbox_lease_ms: int = Field(
        default=5_000,
        ge=100,
        le=3_600_000,
        description="A message that was committed this long ago, and is not known to be published, is published by "
        "any replica.",
    )
    outbox_poll_ms: int = Field(
        default=1_000, ge=10, le=3_600_000, description="How often to look for such unpublished messages."
    )
    trim_period_ms: int = Field(
        default=10_000,
        ge=100,
        le=86_400_000,
        description="How often the service's streams are trimmed of entries that every group has read.",
    )
    outcomes_retention_hours: int = Field(
        default=168, ge=1, le=87_600, description="How long an entry stays on the stream of outcomes."
    )
    dead_letters_retention_hours: int = Field(
        default=720,
        ge=1,
        le=87_600,
        description="How long an entry stays on the stream of dead letters. The table keeps it until it is dropped.",
    )
    ended_sagas_retention_days: int = Field(
        default=0,
        ge=0,
        le=36_500,
        description="How long a saga that has completed, or was compensated, is kept in Postgres with its history. "
        "After that it is removed, and its key may start a new one. 0 keeps all for ever.",
    )
    replayed_dead_letters_retention_days: int = Field(
        default=0,
        ge=0,
        le=36_500,
        description="How long a dead letter stays in the table after it was replayed. 0 keeps it for ever. One that "
        "was not replayed stays until it is dropped.",
    )
    jobs_retention_days: int = Field(
        default=30,
        ge=1,
        le=36_500,
        description="How long a job that has ended is kept in Postgres with what became of each of its items.",
    )
    shutdown_grace_ms: int = Field(
        default=8_000,
        ge=0,
        le=3_600_000,
        description="How long a shutdown may take to finish what was begun. Keep it below the container's grace "
        "period.",
    )
