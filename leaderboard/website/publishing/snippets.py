"""How to load the rows: short programs that the website shows and the tests run."""

from collections.abc import Callable

PANDAS = """\
import pandas as pd

rows = pd.read_parquet("{file}")
by_status = rows.groupby(["submission", "status"])
print(by_status.agg(examples=("example", "size"), seconds=("seconds", "median")))
"""

POLARS = """\
import polars as pl

rows = pl.scan_parquet("{file}")
print(rows.group_by("submission", "status").agg(pl.len(), pl.median("seconds")).collect())
"""

DUCKDB = """\
import duckdb

print(duckdb.sql(\"\"\"
    SELECT submission, status, count(*) AS examples, median(seconds) AS seconds
    FROM '{file}'
    GROUP BY ALL ORDER BY ALL
\"\"\"))
"""

SNIPPETS: dict[str, Callable[[str], str]] = {
    "pandas": lambda file: PANDAS.format(file=file),
    "Polars": lambda file: POLARS.format(file=file),
    "DuckDB": lambda file: DUCKDB.format(file=file),
}
"""By the library's name: the program that reads the file at an address."""
