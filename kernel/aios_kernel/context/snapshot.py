"""KV state off its slot, in memory and in files: a budget for each, the least recently used goes first."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import xxhash

from aios_kernel.core import KvBytes
from aios_kernel.protocol import Tier

log = logging.getLogger(__name__)

MAX_SPILLING: Final = 2  # snapshots on their way to disk, still in memory; a third one waits for the disk


@dataclass(slots=True, eq=False)
class Snapshot:
    """The KV bytes of the first `tokens` tokens of a log. `data` is shared and never written to."""

    id: str
    tokens: int
    created_at: float
    num_bytes: int
    checksum: bytes  # XXH3-128 of the bytes
    data: KvBytes | None  # None: in its file

    @classmethod
    def of(cls, id: str, data: KvBytes, tokens: int, created_at: float) -> Snapshot:
        return cls(id, tokens, created_at, data.size, xxhash.xxh3_128_digest(data.data), data)

    def intact(self, data: KvBytes) -> bool:
        """Whether `data` is what was saved."""
        return xxhash.xxh3_128_digest(data.data) == self.checksum

    @property
    def tier(self) -> Tier:
        return Tier.DISK if self.data is None else Tier.RAM


class Tiers:
    """Where snapshots are kept. Owner thread only; files are written by a thread of their own.

    What does not fit in memory goes to a file, what does not fit there either is lost, and so is what cannot be
    written or comes back altered: its owner rebuilds it from the token log.
    """

    def __init__(
        self, *, ram_bytes: int, disk_bytes: int, folder: Path | None, on_lost: Callable[[Snapshot], None]
    ) -> None:
        """folder: for the files, emptied here; None: no disk. on_lost: hears of a snapshot that is gone."""
        self._ram_limit, self._disk_limit = ram_bytes, disk_bytes if folder is not None else 0
        self._folder = folder
        self._on_lost = on_lost
        self.on_written: Callable[[], None] = lambda: None  # called by the writer: it is time to `settle`
        self._ram: OrderedDict[str, Snapshot] = OrderedDict()  # the least recently used first, as below
        self._spilling: OrderedDict[str, tuple[Snapshot, Future[None]]] = OrderedDict()  # in memory until written
        self._disk: OrderedDict[str, Snapshot] = OrderedDict()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="swap")
        self.ram_bytes = self.disk_bytes = 0  # one that is being written counts in both
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in folder.glob("*.kv"):  # of a kernel that was killed
                left.unlink()

    def put(self, snapshot: Snapshot) -> None:
        """Keep a new snapshot, in memory; others make room."""
        self._ram[snapshot.id] = snapshot
        self.ram_bytes += snapshot.num_bytes
        self._fit()

    def read(self, snapshot: Snapshot) -> KvBytes | None:
        """The bytes of a snapshot that is kept, checked; None when they are not what they were."""
        data = snapshot.data
        if data is None:
            try:
                data = np.fromfile(self._path(snapshot), dtype=np.uint8)
            except OSError as error:
                log.warning("snapshot %s cannot be read: %s", snapshot.id, error)
                return None
        if not snapshot.intact(data):
            log.warning("snapshot %s (%s) is not what was saved: it is rebuilt", snapshot.id, snapshot.tier)
            return None
        return data

    def drop(self, snapshot: Snapshot) -> None:
        """Forget a snapshot, wherever it is. `on_lost` does not hear of it."""
        if self._ram.pop(snapshot.id, None) is not None:
            self.ram_bytes -= snapshot.num_bytes
        elif snapshot.id in self._spilling:
            _, written = self._spilling.pop(snapshot.id)
            self.ram_bytes -= snapshot.num_bytes
            self.disk_bytes -= snapshot.num_bytes
            if not written.cancel():
                self._writer.submit(self._unlink, snapshot)  # after it is written
        elif self._disk.pop(snapshot.id, None) is not None:
            self.disk_bytes -= snapshot.num_bytes
            self._unlink(snapshot)

    def settle(self) -> None:
        """Take note of files that are written by now."""
        for snapshot, written in list(self._spilling.values()):
            if not written.done():
                continue
            del self._spilling[snapshot.id]
            self.ram_bytes -= snapshot.num_bytes
            error = written.exception()
            if error is None:
                snapshot.data = None
                self._disk[snapshot.id] = snapshot
            else:
                log.warning("snapshot %s cannot be written: %s", snapshot.id, error)
                self.disk_bytes -= snapshot.num_bytes
                self._unlink(snapshot)
                self._on_lost(snapshot)

    def flush(self) -> None:
        """Wait until everything on its way to disk is there."""
        wait([written for _, written in self._spilling.values()])
        self.settle()

    def close(self) -> None:
        """Remove every file."""
        self._writer.shutdown(cancel_futures=True)
        for snapshot in [*self._disk.values(), *(snapshot for snapshot, _ in self._spilling.values())]:
            self._unlink(snapshot)

    def _fit(self) -> None:
        """Bring memory down to its limit; what is being written has given up its place already."""
        self.settle()
        held = sum(snapshot.num_bytes for snapshot in self._ram.values())
        while held > self._ram_limit:
            _, oldest = self._ram.popitem(last=False)
            held -= oldest.num_bytes
            self._spill(oldest)

    def _spill(self, snapshot: Snapshot) -> None:
        if snapshot.num_bytes > self._disk_limit:
            self.ram_bytes -= snapshot.num_bytes
            self._on_lost(snapshot)
            return
        while len(self._spilling) >= MAX_SPILLING or self.disk_bytes + snapshot.num_bytes > self._disk_limit:
            if self._spilling:
                wait([written for _, written in self._spilling.values()], return_when="FIRST_COMPLETED")
                self.settle()
            else:
                oldest = next(iter(self._disk.values()))
                self.drop(oldest)
                self._on_lost(oldest)
        assert snapshot.data is not None
        self.disk_bytes += snapshot.num_bytes
        written = self._writer.submit(self._write, snapshot, snapshot.data)
        self._spilling[snapshot.id] = snapshot, written
        written.add_done_callback(lambda _: self.on_written())

    def _write(self, snapshot: Snapshot, data: KvBytes) -> None:
        data.tofile(self._path(snapshot))

    def _unlink(self, snapshot: Snapshot) -> None:
        self._path(snapshot).unlink(missing_ok=True)

    def _path(self, snapshot: Snapshot) -> Path:
        assert self._folder is not None, "there is no disk tier"
        return self._folder / f"{snapshot.id}.kv"

    def check_invariants(self) -> None:
        """Re-count. Raises AssertionError."""
        spilling = sum(snapshot.num_bytes for snapshot, _ in self._spilling.values())
        ram = sum(snapshot.num_bytes for snapshot in self._ram.values())
        disk = sum(snapshot.num_bytes for snapshot in self._disk.values())
        assert self.ram_bytes == ram + spilling, f"{ram + spilling} bytes in memory, counted are {self.ram_bytes}"
        assert self.disk_bytes == disk + spilling, f"{disk + spilling} bytes on disk, counted are {self.disk_bytes}"
        assert ram <= self._ram_limit, "more snapshots in memory than allowed"
        assert self.disk_bytes <= self._disk_limit, "more snapshots on disk than allowed"
