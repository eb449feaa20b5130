"""Health and readiness of a process over HTTP, as Kubernetes and load balancers ask for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from varloop.errors import UsageError
from varloop.support.masking import mask

__all__ = ["Probes"]


class Probes:
    """Answers ``/healthz`` and ``/readyz`` with 200, or with 503 and what is wrong, while it is entered.

    :param place: host and port; port 0 for any free one; None to answer nothing.
    :param health: what only a new process mends; nothing if all is well.
    :param readiness: what keeps the process from its work.
    """

    def __init__(
        self,
        place: tuple[str, int] | None,
        *,
        health: Callable[[], Sequence[str]],
        readiness: Callable[[], Sequence[str]],
    ) -> None:
        self._place = place
        self._checks = {"/healthz": health, "/readyz": readiness}

    def __enter__(self) -> str:
        """The URL, empty if nothing is answered.

        :raises UsageError: if the port is not to be had.
        """
        self._server: ThreadingHTTPServer | None = None
        if self._place is None:
            return ""
        host, port = self._place
        try:
            self._server = ThreadingHTTPServer((host, port), _handler(self._checks))
        except OSError as error:
            detail = f"no probes on {host}:{port}: {error.strerror}"
            raise UsageError(detail, hint="another port, or 0 for any") from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="varloop-probes")
        self._thread.start()
        return f"http://{host}:{self._server.server_port}"

    def __exit__(self, *error: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


def _handler(checks: dict[str, Callable[[], Sequence[str]]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            check = checks.get(self.path, lambda: ["no such probe"])
            faults = check()
            body = mask("".join(f"{fault}\n" for fault in faults) or "ok\n").encode()
            self.send_response((503 if self.path in checks else 404) if faults else 200)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
