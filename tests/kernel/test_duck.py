from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from aios_kernel.duck import DuckFile

pytestmark = pytest.mark.anyio


async def test_a_checkpoint_that_breaks_off_does_not_end_the_database(tmp_path: Path) -> None:
    db = DuckFile(tmp_path / "j", lambda _: None)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        db.connection.execute("CREATE TABLE t (data BLOB)")
        for _ in range(8):
            db.connection.execute("INSERT INTO t VALUES (?)", [os.urandom(1 << 20)])
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
        assert not db.checkpoint()
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        db.connection.execute("INSERT INTO t VALUES ('more')")
        assert await db.read("SELECT count(*) AS n FROM t") == [{"n": 9}]
        assert db.checkpoint()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        db.close()
