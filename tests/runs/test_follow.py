from __future__ import annotations

import msgspec
import pytest

import toy
from varloop import runs
from varloop.client import EmbeddedClient, embedded
from varloop.errors import UnknownRun
from varloop.runs.follow import ITERATION, Follower, News


@pytest.fixture
def client() -> EmbeddedClient:
    """A client of the toy pipeline in memory."""
    return embedded("memory:", apps=[toy.app])


def iterations(news: list[News]) -> list[runs.Iteration]:
    """The summaries among the news."""
    return [msgspec.json.decode(each.data, type=runs.Iteration) for each in news if each.kind == ITERATION]


def test_a_finished_run_is_told_from_its_beginning_to_its_end(client: EmbeddedClient) -> None:
    """The submission comes first, each iteration once and in order, the end last, and then it has ended."""
    run = client.submit(toy.SPEC, pipeline="toy")
    run.result()
    follower = Follower(client.resources, run.id)

    news = list(follower.news())

    assert [news[0].kind, news[-1].kind] == ["dev.varloop.run.submitted", "dev.varloop.run.completed"]
    assert iterations(news) == run.history()
    assert follower.ended
    assert list(follower.news()) == []


def test_a_run_is_followed_while_it_goes(client: EmbeddedClient) -> None:
    """However often one looks, everything is told exactly once, whoever drives the run."""
    run = client.submit(toy.SPEC, pipeline="toy")
    follower = Follower(client.resources, run.id)
    news = list(follower.news())

    for _ in run.watch():
        news += follower.news()
    news += follower.news()

    assert news == list(Follower(client.resources, run.id).news())


def test_a_follower_may_begin_late(client: EmbeddedClient) -> None:
    """Beginning at an iteration leaves out everything before it."""
    run = client.submit(toy.SPEC, pipeline="toy")
    run.result()

    news = list(Follower(client.resources, run.id, since=3).news())

    assert min(each.at for each in news) == 3
    assert iterations(news) == run.history()[3:]


def test_a_cancelled_run_has_an_end(client: EmbeddedClient) -> None:
    """The end is told even if no step's record of the latest iterations holds it."""
    run = client.submit(toy.SPEC, pipeline="toy")
    for _, event in zip(range(14), run.watch(), strict=False):
        last = event
    run.cancel("enough")
    client.host.drain()

    follower = Follower(client.resources, run.id, since=last.iteration)
    kinds = [each.kind for each in follower.news()]

    assert kinds[-1] == "dev.varloop.run.cancelled"
    assert follower.ended


def test_an_unknown_run_is_an_error(client: EmbeddedClient) -> None:
    """Following a run that was never submitted fails at once, with its id."""
    with pytest.raises(UnknownRun, match="nothing"):
        Follower(client.resources, "nothing")
