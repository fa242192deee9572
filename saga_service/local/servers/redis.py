"""An embedded Redis-compatible server on one data folder and at one port."""

from __future__ import annotations

import random
import signal
import socket
from pathlib import Path

from saga_service.local.servers.process import ServerProcess
from saga_service.local.servers.programs import Account, EmbeddedServerError, redis_server
from saga_service.streams.connection import ask
from saga_service.wire.transport import TransportError

HOST = "127.0.0.1"
# Below the ports that the system lends to clients: a client that keeps trying a port out of that range while the
# server is down can be lent that very port, connects to itself, and the server never gets it back.
PORTS = range(20_000, 30_000)
PORT_ATTEMPTS_MAX = 100
SETTINGS = {
    "bind": HOST,
    "save": "",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",
    "daemonize": "no",
    # A process is recognised as ours by the folder in its command line.
    "set-proc-title": "no",
}


class EmbeddedRedis:
    """A server on the loopback. `program` is the extra's Valkey unless another one is given."""

    def __init__(self, folder: Path, program: Path | None = None) -> None:
        self._data = folder.resolve() / "redis"
        self._port_file = self._data / "port"
        self._program = program or redis_server()
        self._process = ServerProcess("Redis", folder.resolve() / "redis.log", Account(), signal.SIGTERM)
        self._port: int | None = None

    @property
    def port(self) -> int:
        if self._port is None:
            raise EmbeddedServerError("the embedded Redis has no port before it has started")
        return self._port

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_running(self) -> bool:
        return self._process.is_running()

    def start(self) -> None:
        """Start on the data that is there, at the port it had. Raises EmbeddedServerError."""
        self._data.mkdir(mode=0o700, exist_ok=True)
        if self._port is None:
            self._port = self._earlier_port() or _free_port()
            self._port_file.write_text(str(self._port))
        self._process.start(self._command(), self._answers)

    def stop(self) -> None:
        self._process.stop()

    def kill(self) -> None:
        self._process.kill()

    def _command(self) -> list[str | Path]:
        command: list[str | Path] = [self._program, "--dir", self._data, "--port", str(self.port)]
        for name, value in SETTINGS.items():
            command += [f"--{name}", value]
        return command

    def _answers(self) -> bool:
        try:
            # Another process' server on this port would answer too.
            settings: dict[str, str] = ask(self.url, "CONFIG", "GET", "dir")
            return settings["dir"] == str(self._data)
        except TransportError:
            return False

    def _earlier_port(self) -> int | None:
        if not self._port_file.exists():
            return None
        port = int(self._port_file.read_text())
        return port if _is_free(port) else None


def _free_port() -> int:
    for port in random.sample(PORTS, PORT_ATTEMPTS_MAX):
        if _is_free(port):
            return port
    raise EmbeddedServerError(f"no free port for the embedded Redis between {PORTS.start} and {PORTS.stop - 1}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server does: a port whose last connections are still fading away is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
