from __future__ import annotations

import pytest

from store.store_contract import StoreContract
from varloop.errors import UsageError
from varloop.store import Store, open_store


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        """An empty one."""
        return open_store("memory:")


def test_an_unknown_scheme_is_a_usage_error() -> None:
    """A URL no store has is refused with the ones there are."""
    with pytest.raises(UsageError, match="folder:PATH"):
        open_store("ftp://somewhere")
