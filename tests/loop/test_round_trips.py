"""What an iteration costs at the store: two conditional writes, and nothing else."""

from collections import Counter

import varloop
from varloop.store.memory import MemoryStore

RING = [(node, (node + 1) % 4, 1.0) for node in range(4)]


class CountingStore(MemoryStore):
    """Counts round trips by verb and folder."""

    def __init__(self) -> None:
        super().__init__()
        self.trips: Counter[str] = Counter()

    def _read(self, key: str) -> bytes | None:
        self.trips["read"] += 1
        return super()._read(key)

    def _write(self, key: str, sealed: bytes) -> None:
        self.trips["write"] += 1
        super()._write(key, sealed)

    def _create(self, key: str, sealed: bytes) -> bool:
        self.trips["create"] += 1
        return super()._create(key, sealed)


def trips(iterations: int) -> Counter[str]:
    """Round trips of a whole run, and of what starts and ends it."""
    store = CountingStore()
    spec = varloop.build_spec(problem=varloop.MaxCut(edges=RING), shots=64, budget=iterations)
    varloop.embedded(store).submit(spec).result()
    return store.trips


def test_an_iteration_costs_two_writes_and_no_read() -> None:
    """Ten more iterations cost twenty more conditional writes and nothing else."""
    longer, shorter = trips(15), trips(5)
    assert longer - shorter == Counter(create=20)


def test_starting_and_ending_a_run_costs_little() -> None:
    """A run with its start, its final measurement and its end stays within a fixed number of round trips."""
    extra = trips(5) - Counter(create=2 * 5)
    assert extra.total() <= 18, extra
