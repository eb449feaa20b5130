"""A client that talks to ``varloop serve`` and needs nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import toy
import varloop
from host.served import Server, serving
from varloop.client import embedded
from varloop.client.remote import ServedClient
from varloop.client.server import Server as ServerClient
from varloop.errors import ConflictError, EventError, RunEnded, RunTimeout, SpecError, UnknownRun, UsageError
from varloop.host.server.gate import Gate
from varloop.store.memory import MemoryStore

TOKEN = "a-token-of-the-laboratory"
SLOW = {
    **toy.SPEC,
    "optimizer": {"name": "spsa", "options": {"seconds": 0.05}},
    "budget": {"iterations": 1000},
}


@pytest.fixture
def server() -> Iterator[Server]:
    """A server over a store in memory, which no client can open."""
    with serving(MemoryStore()) as found:
        yield found


@pytest.fixture
def client(server: Server) -> varloop.client.Client:
    """As an application gets it."""
    return varloop.connect(f"http://127.0.0.1:{server.port}")


def test_a_run_is_submitted_watched_and_told_over_http_alone(client: varloop.client.Client) -> None:
    """Events, result, history and state are those of a run in this process."""
    here = embedded("memory:", [toy.app]).submit(toy.SPEC, run="mine", pipeline="toy")
    expected, result = [event.type for event in here.watch()], here.result()

    run = client.submit(toy.SPEC, run="mine", pipeline="toy")
    types = [event.type for event in run.watch()]

    assert (types[0], types[-1]) == (expected[0], expected[-1])
    assert run.result() == result
    assert [each.parameters for each in run.history()] == [each.parameters for each in here.history()]
    assert (run.state().state, run.state().outcome) == ("completed", result)
    assert client.run("mine").result() == result
    assert [each.iteration for each in run.iterations()] == [each.iteration for each in here.history()]


def test_iterations_come_as_they_are_finished(client: varloop.client.Client) -> None:
    """A callback is called with each, once."""
    seen: list[int] = []
    spec = {**SLOW, "budget": {"iterations": 6}}
    client.submit(spec, pipeline="toy").result(each=lambda iteration: seen.append(iteration.iteration))

    assert seen == list(range(7))


def test_a_run_is_cancelled(client: varloop.client.Client) -> None:
    """By an event over HTTP, with the reason."""
    run = client.submit(SLOW, pipeline="toy")
    run.cancel("enough")

    with pytest.raises(RunEnded, match="cancelled: enough"):
        run.result()


def test_waiting_has_an_end(client: varloop.client.Client) -> None:
    """A run that takes longer than one waits goes on."""
    run = client.submit(SLOW, pipeline="toy")
    with pytest.raises(RunTimeout):
        run.result(timeout=0.2)
    assert run.state().state == "running"


def test_what_the_server_refuses_is_the_error_that_it_is(client: varloop.client.Client) -> None:
    """Faults, an id that is taken, a run that is not there, a pipeline that is not there."""
    client.submit(toy.SPEC, run="mine", pipeline="toy")
    with pytest.raises(ConflictError, match="another spec"):
        client.submit({**toy.SPEC, "seed": 9}, run="mine", pipeline="toy")
    with pytest.raises(SpecError):
        client.submit({"shots": -1})
    with pytest.raises(UnknownRun, match="none"):
        client.run("none")
    with pytest.raises(EventError, match="no pipeline 'other'"):
        client.submit(toy.SPEC, pipeline="other")


def test_a_stream_that_breaks_is_taken_up() -> None:
    """A server that is restarted behind a client's back costs no event and tells none twice."""
    store, begun, stopped, again = MemoryStore(), threading.Event(), threading.Event(), threading.Event()
    told: list[str] = []

    def pause() -> None:
        stopped.set()
        again.wait(10)

    def watch() -> None:
        for event in run.watch():
            told.append(event.id)
            begun.set()

    with serving(store) as first:
        api = ServerClient(f"http://127.0.0.1:{first.port}", pause)
        run = ServedClient(api).submit({**SLOW, "budget": {"iterations": 20}}, run="mine", pipeline="toy")
        watching = threading.Thread(target=watch)
        watching.start()
        assert begun.wait(10)
    assert stopped.wait(10)
    with serving(store, port=first.port):
        again.set()
        watching.join(20)
        assert not watching.is_alive()
        assert len(told) == len(set(told))
        assert told == [event.id for event in ServedClient(api).run("mine").watch()]


def test_a_token_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the environment, or as the password of the URL; without one the server refuses."""
    with serving(MemoryStore(), Gate(tokens=frozenset({TOKEN}))) as server:
        url = f"http://127.0.0.1:{server.port}"
        with pytest.raises(EventError, match="asks for a token"):
            varloop.connect(url).submit(toy.SPEC, pipeline="toy")
        spoken = varloop.connect(url.replace("http://", f"http://me:{TOKEN}@"))
        assert spoken.submit(toy.SPEC, pipeline="toy").result().iterations == 6
        monkeypatch.setenv("VARLOOP_TOKEN", TOKEN)
        assert varloop.connect(url).submit(toy.SPEC, pipeline="toy").result().iterations == 6


@pytest.mark.parametrize("url", ["kafka://127.0.0.1:9/topic", "ftp://host", "http://"])
def test_other_places_need_more(url: str) -> None:
    """A bus needs a store; what is no URL is said to be none."""
    with pytest.raises(UsageError):
        varloop.connect(url)
