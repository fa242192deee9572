"""The settings of the HTTP API."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings


class HttpSettings(BaseSettings):
    """What the HTTP API needs to know. `Settings` is all of it together."""

    http_host: str = Field(default="127.0.0.1", description="The address that the HTTP API listens on.")
    http_port: int = Field(default=8080, ge=0, le=65535, description="The port of the HTTP API; 0 is any that is free.")
    http_root_path: str = Field(
        default="",
        pattern="^(/[^/?#]+)*$",
        description="The path under which a proxy serves the HTTP API: `/sagas`.",
    )
