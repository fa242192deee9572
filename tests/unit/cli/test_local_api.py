"""The HTTP API beside `dev`: its port, and what is said where it cannot be served."""

from __future__ import annotations

import socket

import pytest

from saga_service.cli.console import local_api as module
from saga_service.cli.console.local_api import HOST, free_port, local_api
from saga_service.settings import Settings


def test_without_the_extra_one_line_says_what_to_install_and_all_else_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with local_api({}, Settings()) as api:
        assert api is None
    assert capsys.readouterr().err == "the HTTP API is not served: pip install 'saga-service[http]'\n"


def test_a_port_that_somebody_has_is_left_to_him() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) not in (port, 0)
    assert free_port(port) == port
