"""table_query: SQL over files that lie in the working folder, by DuckDB, which reaches nothing else."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import duckdb

MAX_ROWS = 1_000
READERS = {
    ".csv": "read_csv",
    ".tsv": "read_csv",
    ".parquet": "read_parquet",
    ".json": "read_json",
    ".jsonl": "read_json",
    ".ndjson": "read_json",
}


def run(query: str, files: list[str], memory_mb: int) -> dict[str, Any]:
    """Columns, rows, and whether there were more. A table has its file's name without the ending. Raises ValueError."""
    settings: dict[str, Any] = {"memory_limit": f"{memory_mb}MB", "threads": 1, "temp_directory": ""}
    with contextlib.closing(duckdb.connect(":memory:", config=settings)) as database:
        for file in files:
            _load(database, file)
        # Copied into memory above: from here on no statement opens a file, loads an extension, or changes that.
        database.execute("SET enable_external_access = false; SET lock_configuration = true")
        try:
            statements = database.extract_statements(query)
            if len(statements) != 1:
                raise ValueError(f"{len(statements)} statements: give one")
            result = database.execute(statements[0])
            columns = [column[0] for column in result.description or []]
            rows = result.fetchmany(MAX_ROWS + 1) if columns else []
        except duckdb.Error as error:
            raise ValueError(_first(error)) from error
    return {"columns": columns, "rows": rows[:MAX_ROWS], "more": len(rows) > MAX_ROWS}


def _load(database: duckdb.DuckDBPyConnection, file: str) -> None:
    path = Path(file)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"{file}: must end in one of {', '.join(READERS)}")
    name = re.sub(r"\W", "_", path.stem)
    try:
        database.execute(f'CREATE TABLE "{name}" AS SELECT * FROM {reader}(?)', [str(path)])  # noqa: S608
    except duckdb.Error as error:
        raise ValueError(f"{file}: {_first(error)}") from error


def _first(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
