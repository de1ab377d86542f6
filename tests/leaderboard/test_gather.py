"""What is counted of a file batch by batch is what is counted of all its rows at once."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leaderboard.common.errors import InputError
from leaderboard.results import gather
from leaderboard.results.store import Results, read, scan, write
from tests.fixtures.board import provenance, rows, smoothed_rows


def plain() -> pd.DataFrame:
    parts = {("certified", "ibp"): 13, ("falsified", "pgd"): 7, ("unknown", "crown"): 5}
    made = rows("any", "digits-linf-0.1", parts)
    refuted = made["status"] == "falsified"
    made["witness"] = [bytes([at] * 8) if hit else None for at, hit in enumerate(refuted)]
    return made


def smoothed() -> pd.DataFrame:
    return smoothed_rows("any", "digits-l2-0.25", 40, "0.25", n=1000, right=0.7)


@given(size=st.integers(1, 50), seed=st.integers(0, 2**16), noisy=st.booleans())
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_batches_of_any_size_count_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, seed: int, noisy: bool
) -> None:
    made = (smoothed() if noisy else plain()).sample(frac=1, random_state=seed)
    path = tmp_path / "rows.parquet"
    write(path, made, provenance(made))
    monkeypatch.setattr(gather, "_ROWS", size)
    found, whole = scan(path), read(path)
    assert found.tally == whole.tally
    assert found.highlights == whole.highlights
    assert any(one.witness for group in found.highlights.groups for one in group.examples) != noisy


def test_a_damaged_column_that_is_not_counted_is_found(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    for name in ("witness", "statistics", "margin"):
        made = plain()
        made["statistics"] = [f'{{"a": {at}}}' for at in range(len(made))]
        write(path, made, provenance(made))
        column = next(
            group
            for at in range(len(made.columns))
            if (group := pq.read_metadata(path).row_group(0).column(at)).path_in_schema == name
        )
        content = bytearray(path.read_bytes())
        start = column.dictionary_page_offset or column.data_page_offset
        content[start + column.total_compressed_size // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(InputError, match="damaged"):
            scan(path)


def test_what_a_dictionary_has_and_no_row_uses_is_not_counted(tmp_path: Path) -> None:
    made = plain()
    path = tmp_path / "rows.parquet"
    twice = pd.concat([made, smoothed()]).reset_index(drop=True)
    write(path, twice, provenance(made))
    assert scan(path).tally.smoothed
    write(path, twice.iloc[: len(made)], provenance(made))
    found: Results = scan(path)
    assert not found.tally.smoothed
    assert found.tally == Results(path, made, provenance(made)).tally


@pytest.mark.parametrize("text", ["1e999999999", "-1", "0x1", "1" * 5000])
def test_a_radius_that_would_take_forever_to_read_is_refused(tmp_path: Path, text: str) -> None:
    made = smoothed()
    made.loc[made["radius"].first_valid_index(), "radius"] = text
    path = tmp_path / "rows.parquet"
    write(path, made, provenance(made))
    with pytest.raises((ValueError, InputError)):
        scan(path)
