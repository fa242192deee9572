"""The limit of open files: each stream of events takes one, and the limit that a process begins with is often 1,024."""

from __future__ import annotations

import resource

import structlog

log = structlog.get_logger(__name__)
BESIDE_VIEWERS = 512
"""Files and connections that a process has open beside its streams."""


def allow_open_files_for(viewers: int) -> None:
    """Raise this process's own limit for so many streams, as far as the system lets it. Never lowers the limit."""
    wanted = viewers + BESIDE_VIEWERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if allowed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning(
            "fewer files may be open than SAGA_HTTP_VIEWERS_MAX needs; raise the hard limit (ulimit -Hn)",
            files=allowed,
            needed=wanted,
        )
