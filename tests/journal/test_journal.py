from __future__ import annotations

from pathlib import Path

import pytest

from journal.journal_contract import JournalContract, SharedJournalContract
from varloop.store import Store, open_store


class TestMemory(JournalContract):
    @pytest.fixture
    def store(self) -> Store:
        """In memory."""
        return open_store("memory:")


class TestFolder(SharedJournalContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        """In a folder."""
        return open_store(str(tmp_path))
