"""A TCP proxy on loopback that does harm on demand: latency, refusal, writes denied, answers lost."""

from __future__ import annotations

import asyncio
import random
import threading
from dataclasses import dataclass

__all__ = ["Fault", "Proxy"]

WRITES = (b"PUT ", b"POST ", b"DELETE ")
DENIED = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: 76\r\nConnection: close\r\n\r\n"
    b"<Error><Code>SlowDown</Code><Message>told to refuse writes.</Message></Error>"
)


@dataclass(frozen=True)
class Fault:
    """What the proxy does to what passes."""

    delay: float = 0.0
    """seconds that each piece of a request waits, on average (uniform between 0 and twice that)"""
    refuse: bool = False
    """close every connection, old and new"""
    deny_writes: bool = False
    """answer HTTP requests that write with 503 instead of passing them on"""
    lose_answers: float = 0.0
    """share of writes that reach the server, whose answers never come back"""


class Proxy:
    """Passes connections on to a port of this machine.

    :param seed: of everything that is left to chance.
    """

    def __init__(self, target: int, seed: int = 0) -> None:
        self.fault = Fault()
        self.harmed = 0
        """requests that were refused, denied, or lost their answer"""
        self._target = target
        self._random = random.Random(seed)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()
        self._ready.wait()

    def set(self, fault: Fault) -> None:
        """From now on do this; connections that are open are closed if the fault is refusal."""
        self.fault = fault
        if fault.refuse:
            self._loop.call_soon_threadsafe(self._cut)

    def close(self) -> None:
        """Close every connection and stop listening."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        self._cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._pass(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # either side went away, or the proxy closes
        finally:
            self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = {writer}
        try:
            self._writers.add(writer)
            if self.fault.refuse:
                self.harmed += 1
                return
            back, forth = await asyncio.open_connection("127.0.0.1", self._target)
            ends.add(forth)
            self._writers.add(forth)
            answers = asyncio.create_task(_copy(back, writer))
            try:
                await self._requests(reader, writer, back, forth, answers)
            finally:
                answers.cancel()
                await asyncio.gather(answers, return_exceptions=True)
        finally:
            for end in ends:
                self._writers.discard(end)
                end.transport.abort()

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        back: asyncio.StreamReader,
        forth: asyncio.StreamWriter,
        answers: asyncio.Task[None],
    ) -> None:
        """Pass on what the client sends, until either side ends."""
        while not answers.done():
            piece = asyncio.ensure_future(reader.read(1 << 16))
            await asyncio.wait((piece, answers), return_when=asyncio.FIRST_COMPLETED)
            if not piece.done():
                piece.cancel()
                return
            data = piece.result()
            if not data:
                return
            fault, writes = self.fault, data.startswith(WRITES)
            if fault.delay:
                await asyncio.sleep(self._random.uniform(0, 2 * fault.delay))
            if writes and fault.deny_writes:
                self.harmed += 1
                writer.write(DENIED)
                await writer.drain()
                writer.close()
                return
            if writes and self._random.random() < fault.lose_answers:
                self.harmed += 1
                await self._swallow(data, reader, back, forth, answers)
                return
            forth.write(data)
            await forth.drain()

    async def _swallow(
        self,
        data: bytes,
        reader: asyncio.StreamReader,
        back: asyncio.StreamReader,
        forth: asyncio.StreamWriter,
        answers: asyncio.Task[None],
    ) -> None:
        """Let the server do its work, and hang up on the client when it has answered."""
        answers.cancel()
        await asyncio.gather(answers, return_exceptions=True)
        forth.write(data)
        answer = asyncio.ensure_future(back.read(1))
        while not answer.done():  # the body may come in pieces of its own
            more = asyncio.ensure_future(reader.read(1 << 16))
            await asyncio.wait((more, answer), return_when=asyncio.FIRST_COMPLETED, timeout=5)
            if not more.done():
                more.cancel()
                await asyncio.gather(more, return_exceptions=True)
                break
            if not more.result():
                break
            forth.write(more.result())
        answer.cancel()
        await asyncio.gather(answer, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
