from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from aios_kernel.scheduler.text import TextStream


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(text=st.text(), cuts=st.lists(st.integers(0, 1000)), stop=st.lists(st.text("ab", min_size=1), max_size=2))
def test_the_text_does_not_depend_on_where_tokens_end(text: str, cuts: list[int], stop: list[str]) -> None:
    text = text.encode(errors="replace").decode()
    stream = TextStream(stop)
    shown = ""
    for piece in pieces(text.encode(), cuts):
        shown += stream.feed(piece)
        if stream.stopped:
            break
    shown += stream.flush()
    assert shown == stream.text
    found = [text.find(one) for one in stop if one in text]
    if not found:
        assert text == shown
    else:
        assert stream.stopped
        assert not any(one in shown for one in stop)
        assert text.startswith(shown)


def test_a_stop_string_across_tokens_is_never_shown() -> None:
    stream = TextStream(["STOP"])
    assert [stream.feed(piece) for piece in (b"go S", b"T", b"O", b"P and more")] == ["go ", "", "", ""]
    assert (stream.text, stream.flush(), stream.stopped) == ("go ", "", True)


def test_what_only_looked_like_a_stop_string_is_shown() -> None:
    stream = TextStream(["STOP"])
    assert [stream.feed(b"go ST"), stream.feed(b"ep")] == ["go ", "STep"]


def test_an_unfinished_character_is_replaced_at_the_end() -> None:
    stream = TextStream([])
    assert (stream.feed("é".encode()[:1]), stream.flush()) == ("", "\ufffd")
