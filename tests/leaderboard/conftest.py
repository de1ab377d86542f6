from pathlib import Path

import pytest

from leaderboard import data_files


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is both CERTBOARD_DATA's and, in another place, the cache's."""
    monkeypatch.setenv("CERTBOARD_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(data_files, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "data"
