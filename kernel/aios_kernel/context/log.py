"""The token log: a context's tokens and the calls that fed them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise


class TokenLog:
    """Tokens of one sequence in feeding order, cut into pieces; each piece is one call's share of the sequence.

    A piece of one token is fed by a batched decode, a longer one by a prefill call of its own. The same pieces fed
    again give the same bits, so a lost KV state is rebuilt by feeding the log from its start. `fed` counts the
    pieces whose KV exists; the rest waits to be fed.
    """

    __slots__ = ("_ends", "_head", "_lost", "fed", "tokens")

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self._ends: list[int] = []  # position after each piece
        self.fed = 0
        self._lost = 0  # pieces that were fed before the KV state was lost
        self._head = 0  # tokens that prompts of its kind begin with

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def of(cls, tokens: Sequence[int], ends: Sequence[int]) -> TokenLog:
        """A log of these pieces, none of them fed, though all were fed somewhere."""
        log = cls()
        log.tokens, log._ends, log._lost = list(tokens), list(ends), len(ends)
        return log

    @property
    def ends(self) -> tuple[int, ...]:
        """Position after each piece."""
        return tuple(self._ends)

    @property
    def fed_tokens(self) -> int:
        return self.end_of(self.fed)

    def end_of(self, pieces: int) -> int:
        """Position after so many pieces."""
        return self._ends[pieces - 1] if pieces else 0

    @property
    def longest_piece(self) -> int:
        return max((end - start for start, end in pairwise([0, *self._ends])), default=0)

    @property
    def pending(self) -> int:
        """Tokens not yet fed."""
        return len(self.tokens) - self.fed_tokens

    def next_piece(self) -> tuple[int, list[int]]:
        """(start position, tokens) of the first piece not yet fed; the tokens are empty when all is fed."""
        if self.fed == len(self._ends):
            return len(self.tokens), []
        start = self.fed_tokens
        return start, self.tokens[start : self._ends[self.fed]]

    @property
    def next_size(self) -> int:
        return self._ends[self.fed] - self.fed_tokens if self.fed < len(self._ends) else 0

    def grid(self, chunk: int, start: int) -> Iterator[tuple[int, ...]]:
        """Pieces from number `start` on for as long as they lie on the grid: what every prompt with this head is cut
        into, however it goes on.

        The log's last piece is not among them: whoever takes over what another has fed still needs logits of its own.
        """
        for index in range(start, len(self._ends) - 1):
            piece = self._on_grid(index, chunk)
            if piece is None:
                return
            yield piece

    def last_fed(self, chunk: int) -> tuple[int, ...] | None:
        """The piece that was fed last, if it lies on the grid like all before it, which is the caller's to know."""
        return self._on_grid(self.fed - 1, chunk) if self.fed else None

    def _on_grid(self, index: int, chunk: int) -> tuple[int, ...] | None:
        start, end = self.end_of(index), self._ends[index]
        whole = start + chunk if start >= self._head else min(start + chunk, self._head)
        return tuple(self.tokens[start:end]) if end == whole else None

    def append(self, token: int) -> None:
        """Add a generated token: a piece of its own."""
        self.tokens.append(token)
        self._ends.append(len(self.tokens))

    def begin(self, prompt: Sequence[int], chunk: int, head: int = 0) -> int:
        """Make `prompt` the log: keep the pieces it shares, cut the rest of it into prefill pieces.

        `head`: tokens that other prompts begin with too. Their end is a piece's end, so that all of them are shared.

        At least its last piece is fed again, as the first token is chosen from its logits. Only whole pieces are
        kept: half of one could not be rebuilt with the same bits.

        Returns: tokens kept that are fed already. The caller cuts the KV state there.
        """
        keep = self.shared(prompt)
        start = self._ends[keep - 1] if keep else 0
        del self._ends[keep:]
        self.fed, self._lost = min(self.fed, keep), min(self._lost, keep)
        self.tokens[start:] = prompt[start:]
        self._head = head
        for size in [*cut(max(0, head - start), chunk), *cut(len(prompt) - max(start, head), chunk)]:
            start += size
            self._ends.append(start)
        return self.fed_tokens

    def lose(self) -> None:
        """The KV state is gone: all is to be fed again."""
        self._lost = max(self._lost, self.fed)
        self.fed = 0

    def drop_pending(self) -> None:
        """Forget what was never fed: the generation that wanted it has ended. A lost KV state changes nothing here,
        or the next prompt would be cut, and its bits would come out, by what became of a snapshot."""
        reached = max(self.fed, self._lost)
        del self._ends[reached:]
        del self.tokens[self._ends[-1] if self._ends else 0 :]

    def shared(self, prompt: Sequence[int]) -> int:
        """Number of leading pieces that `prompt` starts with, at least one token of it left over."""
        start = 0
        for index, end in enumerate(self._ends):
            if end >= len(prompt) or tuple(self.tokens[start:end]) != tuple(prompt[start:end]):
                return index
            start = end
        return len(self._ends)


def cut(length: int, chunk: int) -> list[int]:
    """Sizes of the prefill pieces of a span, by its length alone and never by what else runs."""
    full, rest = divmod(length, chunk)
    return [chunk] * full + [rest] * bool(rest)
