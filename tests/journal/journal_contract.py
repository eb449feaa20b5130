"""What the journal promises on every store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import msgspec
import pytest

from store.racers import race
from varloop.errors import CorruptObject, MissingObject, StoreUnavailable
from varloop.events import Memo
from varloop.journal import Journal, Record, list_runs, memory_digest, write_record
from varloop.store import Store
from varloop.store.layout import step_key
from varloop.store.memory import MemoryStore

__all__ = ["JournalContract", "SharedJournalContract", "once_all"]


def never() -> bytes:
    raise AssertionError("computed again")


class JournalContract(ABC):
    @pytest.fixture
    @abstractmethod
    def store(self) -> Store:
        """An empty store."""

    @pytest.mark.parametrize("expect_new", [False, True])
    def test_computes_once(self, store: Store, expect_new: bool) -> None:
        """The first call computes and records; later ones, here and elsewhere, get what is recorded."""
        journal = Journal(store, "r")

        assert journal.once("k", lambda: b"1", expect_new=expect_new) == (b"1", True)
        assert journal.once("k", never, expect_new=expect_new) == (b"1", False)
        assert Journal(store, "r").once("k", never) == (b"1", False)

    def test_runs_and_keys_do_not_mix(self, store: Store) -> None:
        """Another run, or another key of the same run, has its own record."""
        Journal(store, "r").once("k", lambda: b"1")

        assert Journal(store, "s").once("k", lambda: b"2").won
        assert Journal(store, "r").once("l", lambda: b"3").won
        assert list(list_runs(store)) == ["r", "s"]

    @pytest.mark.parametrize("expect_new", [False, True])
    def test_the_loser_takes_the_winners_outcome(self, store: Store, expect_new: bool) -> None:
        """Who computed while another recorded drops its own outcome and returns the recorded one."""

        def slow() -> bytes:
            Journal(store, "r").once("k", lambda: b"faster")
            return b"slower"

        journal = Journal(store, "r")

        assert journal.once("k", slow, expect_new=expect_new) == (b"faster", False)
        assert journal.find("k") == b"faster"

    def test_a_wrong_expectation_changes_no_outcome(self, store: Store) -> None:
        """expect_new with a record already there computes in vain and returns the record."""
        Journal(store, "r").once("k", lambda: b"1")

        assert Journal(store, "r").once("k", lambda: b"2", expect_new=True) == (b"1", False)

    def test_an_error_records_nothing(self, store: Store) -> None:
        """A computation that raised leaves no record; the next one starts afresh."""
        journal = Journal(store, "r")
        with pytest.raises(AssertionError):
            journal.once("k", never)

        assert journal.find("k") is None
        assert journal.once("k", lambda: b"1").won

    def test_an_uncertain_write_is_settled_by_reading(self, store: Store) -> None:
        """A record that was written although the store reported an error is found by the next attempt."""
        journal = Journal(_LosesAnswers(store), "r")
        with pytest.raises(StoreUnavailable):
            journal.once("k", lambda: b"1")

        assert journal.once("k", lambda: b"2") == (b"1", False)

    def test_a_block_is_a_record(self, store: Store) -> None:
        """What was blocked can not be computed any more; what was recorded can not be blocked."""
        journal = Journal(store, "r")

        assert journal.block("k", b"stop")
        assert not journal.block("k", b"again")
        assert Journal(store, "r").once("k", never) == (b"stop", False)

    def test_recalls_what_a_step_remembered(self, store: Store) -> None:
        """A memo gives its memory back in any process, and nothing else's."""
        memory = msgspec.json.encode({"a": [1.5, None]})
        key = step_key(3, "optimize")
        Journal(store, "r").once(key, lambda: write_record(Record(memory=msgspec.Raw(memory))))
        journal = Journal(store, "r")

        assert journal.recall(Memo(key, memory_digest(memory))) == {"a": [1.5, None]}
        assert journal.remembered(key) == {"a": [1.5, None]}
        assert journal.remembered(step_key(4, "optimize")) is None
        with pytest.raises(CorruptObject, match="000003/optimize"):
            journal.recall(Memo(key, memory_digest(b"{}")))
        with pytest.raises(MissingObject, match="000004/optimize"):
            journal.recall(Memo(step_key(4, "optimize"), ""))

    def test_forgets_nothing(self, store: Store) -> None:
        """More records than are kept in memory are all found, listed oldest iteration first."""
        journal = Journal(store, "r")
        names = [step_key(iteration, "f") for iteration in range(2 * Journal.CAPACITY)]
        for name in reversed(names):
            journal.once(name, name.encode)

        assert [journal.find(name) for name in names] == [name.encode() for name in names]
        assert list(journal.keys()) == names
        assert journal.once(names[0], never) == (names[0].encode(), False)

    def test_knows_how_far_it_reaches(self, store: Store) -> None:
        """A journal reaches the iteration of its newest known record and the next, no others."""
        journal = Journal(store, "r")
        reached: list[Any] = [[iteration for iteration in range(6) if journal.reaches(iteration)]]
        for iteration in (0, 3):
            journal.once(step_key(iteration, "f"), lambda: b"")
            reached.append([other for other in range(6) if journal.reaches(other)])

        assert reached == [[], [0, 1], [3, 4]]


class SharedJournalContract(JournalContract):
    """On a store that other processes can open by its URL."""

    def test_all_processes_agree(self, store: Store) -> None:
        """Processes that race for the same keys all return the same outcomes, one of them as the winner."""
        outcomes = race("journal.journal_contract", "once_all", store.url)

        for same in zip(*outcomes, strict=True):
            assert len({value for value, _ in same}) == 1
            assert [won for _, won in same].count(True) == 1


def once_all(store: Store, name: str, count: int) -> list[tuple[str, bool]]:
    """What this process was given for each key."""
    journal = Journal(store, "r")
    outcomes = [
        journal.once(step_key(number, "f"), name.encode, expect_new=number % 2 == 0)
        for number in range(count)
    ]
    return [(outcome.value.decode(), outcome.won) for outcome in outcomes]


class _LosesAnswers(MemoryStore):
    """Does what it is told and loses its first answer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lost = False

    def create(self, key: str, data: bytes) -> bool:
        created = self._store.create(key, data)
        if not self._lost:
            self._lost = True
            raise StoreUnavailable("no answer")
        return created

    def get(self, key: str) -> bytes:
        return self._store.get(key)
