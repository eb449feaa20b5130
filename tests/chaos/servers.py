"""Real servers that can be killed: one Kafka broker or one S3 server, started by the scripts in ``SERVICES``."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

__all__ = ["Server", "bucket"]

USER = PASSWORD = "minioadmin"
SCRIPTS = {"kafka": "kafka-up", "minio": "minio-up", "versitygw": "versitygw-up"}


class Server:
    """One server on loopback. What it stores survives it.

    :param kind: kafka, minio or versitygw.
    :param scripts: the folder with ``kafka-up`` and the like.
    """

    def __init__(self, kind: str, scripts: Path, folder: Path) -> None:
        self.kind = kind
        self.port, self._controller = _free_ports(2)
        self._up = scripts / SCRIPTS[kind]
        self._folder = folder
        self._alive = False

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, unless it is up; on return it answers."""
        if self._alive:
            return
        environment = {**os.environ, "KAFKA_HEAP": "256m", "CONTROLLER_PORT": str(self._controller)}
        done = subprocess.run(
            [self._up, self._folder, str(self.port)],
            env=environment,
            capture_output=True,
            timeout=90,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{self.kind} does not start: {done.stderr.decode(errors='replace')[-2000:]}")
        self._alive = True

    def kill(self) -> None:
        """kill −9, without warning."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it cleanly."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if not self._alive:
            return
        self._alive = False
        pid = int((self._folder / "pid").read_text())
        os.kill(pid, how)
        ending = os.pidfd_open(pid) if Path(f"/proc/{pid}").exists() else -1
        if ending >= 0:
            _wait(ending)
        (self._folder / "pid").unlink()


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait(ending: int) -> None:
    """Wait until a process is gone that is nobody's child here."""
    try:
        gone, _, _ = select.select([ending], [], [], 30)
        if not gone:
            signal.pidfd_send_signal(ending, signal.SIGKILL)
            select.select([ending], [], [], 10)
    finally:
        os.close(ending)


def bucket(server: Server, name: str) -> None:
    """Make a bucket."""
    import urllib3
    from minio import Minio

    pool = urllib3.PoolManager()
    client = Minio(server.address, USER, PASSWORD, secure=False, region="us-east-1", http_client=pool)
    if not client.bucket_exists(name):
        client.make_bucket(name)
    for key in pool.pools.keys():
        pool.pools[key].close()
    pool.clear()
