"""The settings of the HTTP API."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings


class HttpSettings(BaseSettings):
    """What the HTTP API needs to know. `Settings` is all of it together."""

    http_enabled: bool = Field(
        default=False,
        description="`true`: `saga-service run` serves the HTTP API too, in its own process. Needs the extra `http`.",
    )
    http_host: str = Field(default="127.0.0.1", description="The address that the HTTP API listens on.")
    http_port: int = Field(default=8080, ge=0, le=65535, description="The port of the HTTP API; 0 is any that is free.")
    http_root_path: str = Field(
        default="",
        pattern="^(/[^/?#]+)*$",
        description="The path under which a proxy serves the HTTP API: `/sagas`.",
    )
    http_metrics_open: bool = Field(
        default=False,
        description="`true`: `/metrics` of the HTTP API needs no token. By default whoever reads it is a viewer.",
    )
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="The port on which `run` and `worker` answer `/livez`, `/readyz` and `/metrics`; 0 is any that is "
        "free. By default they answer nothing. Needs the extra `http`. The HTTP API has them on its own port.",
    )
    metrics_host: str = Field(
        default="0.0.0.0",
        description="The address that this port is on. Probes and Prometheus come from outside of a container, so by "
        "default all of them (IPv4); `::` takes IPv6 too. Nothing there changes anything.",
    )
    http_requests_per_s_max: int = Field(
        default=500,
        ge=0,
        le=100_000,
        description="Requests of one caller a second to the HTTP API, and twice as many at once after a pause; what is "
        "more is answered with 429. 0 is no limit.",
    )
    http_poll_ms: int = Field(
        default=250,
        ge=20,
        le=10_000,
        description="How often a process of the HTTP API asks Postgres what has changed, while somebody watches or "
        "waits: one query, however many do.",
    )
    http_heartbeat_ms: int = Field(
        default=15_000,
        ge=100,
        le=50_000,
        description="How often something is sent on a quiet stream of events, so that proxies keep it open; and how "
        "often it is checked that its caller may still watch.",
    )
    http_viewers_max: int = Field(
        default=2_000,
        ge=1,
        le=100_000,
        description="Streams of events that a process of the HTTP API has open at most.",
    )
