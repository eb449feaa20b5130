"""A sandbox: strangers' circuits are read in a process of their own, with limits of memory and time.

What it takes to read a circuit cannot be told from its text: a few bytes of QPY can claim any size, and memory that
cannot be had ends the process that asks for it. Here that process is a fork of one that has imported Qiskit and does
nothing else, so a circuit costs milliseconds, not an interpreter. What comes back is canonical QPY of a circuit whose
operations were counted: reading and compiling it takes no more than they do.

The process has no credentials in its environment. It protects from what a circuit costs, not from faults of a parser.
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from contextlib import suppress
from multiprocessing import get_context
from typing import TYPE_CHECKING

import msgspec

from varloop.errors import CircuitError, TemporaryError
from varloop.quantum import circuits
from varloop.spec import CircuitSpec
from varloop.support.cache import LruCache

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

__all__ = ["MEMORY", "SECONDS", "Sandbox"]

MEMORY = 512 << 20
"""bytes that reading one circuit may take; 131,072 operations take some 100 MiB"""
SECONDS = 20
"""processor time for reading one circuit"""
PATIENCE = 6.0
"""times SECONDS on the clock: others want the processor too"""
KEPT = 64
"""circuits that were read, the most recently used"""
_BORN = b"born"
"""what a fork says first: if it says no more, reading the circuit ended it"""
_INHERITED = ("HOME", "LANG", "LC_ALL", "PATH", "TMPDIR")
_RESERVE = "MIMALLOC_ARENA_RESERVE"
"""of Qiskit's allocator: a gibibyte if not set, which no limit would count"""
_OWN = {
    _RESERVE: "16M",
    "OMP_NUM_THREADS": "1",  # a process with threads must not fork
    "OPENBLAS_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
}
"""environment of the process that reads"""


class _Request(msgspec.Struct):
    spec: CircuitSpec
    seed: int
    memory: int
    seconds: int


class _Reply(msgspec.Struct):
    """A circuit, or why there is none."""

    qpy: bytes = b""
    detail: str = ""
    hint: str = ""


class Sandbox:
    """Reads circuits. Safe between threads, each circuit in a process of its own.

    The process that forks is started with the first circuit. Where processes cannot fork (Windows), it cannot.

    :param memory: bytes that reading one circuit may take.
    :param seconds: processor time for one circuit.
    """

    def __init__(self, memory: int = MEMORY, seconds: int = SECONDS) -> None:
        self._memory = memory
        self._seconds = seconds
        self._kept: LruCache[bytes, _Reply] = LruCache(KEPT)
        self._lock = threading.Lock()
        self._nursery: _Nursery | None = None

    def start(self) -> None:
        """Start at once, by a fork of this very process, which then has imported Qiskit but once for both.

        For a host whose cold start counts, before it has threads; one that has some starts with the first circuit.
        """
        os.environ.setdefault(_RESERVE, _OWN[_RESERVE])
        import qiskit.qpy  # noqa: F401

        if _threads() == 1:
            self._nursery = _Nursery(fork=True)

    def load(self, spec: CircuitSpec, seed: int = 0) -> QuantumCircuit:
        """As :func:`varloop.quantum.circuits.load`.

        :raises CircuitError: as that, or reading it takes more memory or time than there is.
        :raises TemporaryError: the process that reads circuits has died.
        """
        request = msgspec.msgpack.encode(_Request(spec, seed, self._memory, self._seconds))
        digest = hashlib.sha256(request).digest()
        with self._lock:
            reply = self._kept.recall(digest)
        if reply is None:
            reply = self._ask(request)
            with self._lock:
                self._kept[digest] = reply
        if reply.detail:
            raise CircuitError(reply.detail, hint=reply.hint)
        return circuits.from_qpy(reply.qpy)

    def _ask(self, request: bytes) -> _Reply:
        nursery, started = self._started(), time.monotonic()
        answer = nursery.read(request, PATIENCE * self._seconds)
        if not answer.startswith(_BORN):
            raise TemporaryError("the process that reads circuits has died")
        with suppress(msgspec.DecodeError):  # it ended before it could say all
            return msgspec.msgpack.decode(answer.removeprefix(_BORN), type=_Reply)
        if time.monotonic() - started >= self._seconds:
            return _Reply(detail=f"the circuit cannot be read within {self._seconds} s")
        return _Reply(detail=f"the circuit cannot be read within {self._memory >> 20} MiB of memory")

    def _started(self) -> _Nursery:
        with self._lock:
            if self._nursery is None or not self._nursery.alive:
                self._nursery = _Nursery()
            return self._nursery


class _Nursery:
    """This end of the process that forks for every connection it is handed. It ends when nobody refers to it."""

    def __init__(self, fork: bool = False) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = _Fork(theirs) if fork else _program(theirs)
        weakref.finalize(self, _end, self._process, self._socket)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def read(self, request: bytes, timeout: float) -> bytes:
        """What a fork said until it ended; nothing if there was none."""
        mine, theirs = socket.socketpair()
        with mine:
            with theirs, suppress(OSError):
                socket.send_fds(self._socket, [b"."], [theirs.fileno()])
            mine.settimeout(timeout)
            with suppress(OSError):
                mine.sendall(request)
                mine.shutdown(socket.SHUT_WR)
                import qiskit.qpy  # noqa: F401  meanwhile, as the answer will need it

                return _all(mine)
        return b""


class _Fork:
    """A fork of this process, as far as it is used like a Popen."""

    def __init__(self, control: socket.socket) -> None:
        self._process = get_context("fork").Process(target=_forked, args=(control,), daemon=True)
        self._process.start()

    def poll(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> None:
        self._process.join()


def _forked(control: socket.socket) -> None:
    for name in os.environ.keys() - set(_INHERITED):
        del os.environ[name]
    os.environ.update(_OWN)
    _nurse(control)


def _program(control: socket.socket) -> subprocess.Popen[bytes]:
    """This module as a program of its own."""
    program = [sys.executable, "-P", "-m", __name__]
    return subprocess.Popen(program, stdin=control.fileno(), env=_environment())


def _end(process: subprocess.Popen[bytes] | _Fork, control: socket.socket) -> None:
    """End the process; nothing is lost."""
    control.close()
    process.kill()
    process.wait()


def _environment() -> dict[str, str]:
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**inherited, **_OWN, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _all(connection: socket.socket) -> bytes:
    """What comes until the other side says that this is all."""
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def _serve(connection: socket.socket) -> None:
    """Read one circuit, in a process that ends with it."""
    connection.sendall(_BORN)
    request = msgspec.msgpack.decode(_all(connection), type=_Request)
    _limit(request.memory, request.seconds)
    try:
        reply = _Reply(qpy=circuits.to_qpy(circuits.load(request.spec, request.seed)))
    except CircuitError as error:
        reply = _Reply(detail=error.detail, hint=error.hint)
    connection.sendall(msgspec.msgpack.encode(reply))


def _limit(memory: int, seconds: int) -> None:
    """From now on this process may take so much more memory and processor time. It writes no files."""
    import resource

    own = resource.getrlimit(resource.RLIMIT_AS)[1]
    total = _size() + memory
    if own == resource.RLIM_INFINITY or own > total:
        resource.setrlimit(resource.RLIMIT_AS, (total, total))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.setitimer(signal.ITIMER_REAL, PATIENCE * seconds)


def _size() -> int:
    """Bytes of address space that this process has."""
    try:
        with open("/proc/self/statm", encoding="ascii") as numbers:
            return int(numbers.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 4 << 30  # not Linux: about what Qiskit's libraries map


def _threads() -> int:
    """Threads of this process, those of libraries included; 2 where nobody tells."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 2


def _import() -> None:
    """Import what reads circuits, which starts no thread."""
    from qiskit import qasm2, qasm3, qpy  # noqa: F401
    from qiskit.circuit import library  # noqa: F401

    with suppress(ImportError):
        import qiskit_qasm3_import  # noqa: F401


def _nurse(control: socket.socket) -> None:
    """Fork for every connection, until nobody holds the other end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead need no burial
    nothing = os.open(os.devnull, os.O_WRONLY)
    while True:
        _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not descriptors:
            return
        with socket.socket(fileno=descriptors[0]) as connection:
            if os.fork():
                continue
            try:
                os.dup2(nothing, 2)  # parsers and allocators say there what the answer says, or not at all
                control.close()
                _serve(connection)
            finally:
                os._exit(0)


if __name__ == "__main__":
    _import()
    _nurse(socket.socket(fileno=0))
