"""Keep-alive connections to one HTTP server, for requests that must not be repeated behind our back."""

from __future__ import annotations

import socket
import ssl
from base64 import b64encode
from collections import deque
from collections.abc import Mapping
from http.client import HTTPResponse
from urllib.parse import SplitResult, unquote, urlsplit

from urllib3.util import wait_for_read

__all__ = ["Connections", "UnsentError", "address", "authorization", "endpoint"]

IDLE = 16
"""connections kept"""
PORTS = {"http": 80, "https": 443}


def endpoint(url: str) -> SplitResult | None:
    """The parts of an HTTP URL; None if it is none."""
    try:
        parts = urlsplit(url)
        return parts if parts.scheme in PORTS and parts.hostname and parts.port != 0 else None
    except ValueError:  # a port that is no number, or none that can be
        return None


def address(parts: SplitResult) -> str:
    """The URL without what authorizes: fit to be shown, or to be asked."""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def authorization(parts: SplitResult) -> dict[str, str]:
    """The header for the user and the password of a URL; none for a URL that has none."""
    user, separator, _ = parts.netloc.rpartition("@")
    if not separator:
        return {}
    name, _, password = user.partition(":")
    shown = b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
    return {"authorization": f"Basic {shown}"}


class UnsentError(OSError):
    """There is no connection: the server has seen nothing of the request."""


class Connections:
    """Sends each request once, in one piece, over a connection of its own for the time being. For all threads.

    :param trusted: file with the certificates to believe, for https.
    :param patience: seconds for a connection, and seconds without a byte of an answer.
    """

    def __init__(self, endpoint: SplitResult, trusted: str | None, patience: tuple[float, float]) -> None:
        self._host = endpoint.hostname or ""
        self._address = self._host, endpoint.port or PORTS[endpoint.scheme]
        self._context = ssl.create_default_context(cafile=trusted) if endpoint.scheme == "https" else None
        self._patience = patience
        self._idle: deque[socket.socket] = deque()

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Send a request; status and body of the answer.

        :param headers: with Host and Content-Length.
        :raises UnsentError: if nothing was sent.
        :raises OSError, http.client.HTTPException: if it was and the answer is not known.
        """
        lines = [
            f"{method} {path} HTTP/1.1",
            *(f"{name}: {value}" for name, value in headers.items()),
            "",
            "",
        ]
        request = "\r\n".join(lines).encode("ascii") + body
        connection = self._take()
        try:
            connection.sendall(request)
            with HTTPResponse(connection, method=method) as response:
                response.begin()
                answer = response.status, response.read()
        except BaseException:
            connection.close()
            raise
        if response.will_close or len(self._idle) >= IDLE:
            connection.close()
        else:
            self._idle.append(connection)
        return answer

    def close(self) -> None:
        """Close the connections that are idle."""
        while self._idle:
            self._idle.pop().close()

    def __del__(self) -> None:
        self.close()

    def _take(self) -> socket.socket:
        """A connection that is open, as far as can be told."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                break
            if not wait_for_read(connection, timeout=0.0):
                return connection
            connection.close()  # the server hung up
        return self._connect()

    def _connect(self) -> socket.socket:
        to_connect, to_answer = self._patience
        try:
            connection = socket.create_connection(self._address, to_connect)
        except OSError as error:
            raise UnsentError(str(error)) from error
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_hostname=self._host)
            connection.settimeout(to_answer)
        except OSError as error:
            connection.close()
            raise UnsentError(str(error)) from error
        return connection
