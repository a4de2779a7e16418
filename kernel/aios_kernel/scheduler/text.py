"""From token bytes to text that may be shown: UTF-8 across tokens, stop strings across tokens."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """Holds back what may still become a stop string or a whole character."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(text for text in stop if text)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self._shown: list[str] = []
        self.stopped = False

    @property
    def text(self) -> str:
        """All text shown so far."""
        return "".join(self._shown)

    def feed(self, piece: bytes) -> str:
        """Take one token's bytes; return the text that is now certain. `stopped` is set at a stop string."""
        self._held += self._decoder.decode(piece)
        found = [at for stop in self._stop if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = self._held[: min(found)]
            return self._show(len(self._held))
        return self._show(len(self._held) - self._possible_stop())

    def skip(self, piece: bytes) -> None:
        """Take a token of a text that goes on: what of it was certain has been shown before."""
        self.feed(piece)
        self._shown.clear()
        self.stopped = False  # who gave that text may have a stop string in it

    def flush(self) -> str:
        """The text held back, at the end of a generation that met no stop string."""
        if not self.stopped:
            self._held += self._decoder.decode(b"", final=True)
        return self._show(len(self._held))

    def _show(self, length: int) -> str:
        shown, self._held = self._held[:length], self._held[length:]
        if shown:
            self._shown.append(shown)
        return shown

    def _possible_stop(self) -> int:
        """Length of the longest tail that a stop string starts with."""
        longest = 0
        for stop in self._stop:
            for size in range(min(len(stop) - 1, len(self._held)), longest, -1):
                if self._held.endswith(stop[:size]):
                    longest = size
                    break
        return longest
