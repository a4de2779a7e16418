"""Whatever a program writes, in whatever pieces: safe parts of bounded size."""

from __future__ import annotations

import time
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from streams import HOSTILE, out, told

from aios_kernel.protocol import Event, EventKind
from aios_shell.tui.prose import Look, markdown
from aios_shell.tui.record import FULL, KEEP, Kind, Record, readable, summary
from aios_shell.tui.sheet import draw

_REPLIES = 'Some **bold** text.\n\n- a\n- b\n\n```py\nprint("x")\n```\n'


def record_of(*events: Event) -> Record:
    record = Record()
    record.add(events)
    return record


def drawn(record: Record, width: int = 80, *, raw: bool = False) -> list[str]:
    return [line.plain for part in record.parts for line in draw(part, width, Look(), raw=raw)]


def assert_safe(lines: list[str], width: int) -> None:
    for line in lines:
        bad = [char for char in line if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")]
        assert not bad, (bad, line)
        assert not set(line) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068")
        assert cell_len(line) <= max(width, 12), line


@settings(max_examples=40, deadline=None)
@given(
    chunks=st.lists(st.one_of(st.sampled_from(HOSTILE), st.binary(max_size=40), st.text(max_size=40).map(str.encode))),
    cut=st.integers(1, 7),
    width=st.sampled_from([4, 20, 80, 200]),
    raw=st.booleans(),
)
def test_no_control_character_ever_reaches_a_line(chunks: list[bytes], cut: int, width: int, raw: bool) -> None:
    data = b"".join(chunks)[:20_000]
    pieces = [data[start : start + cut * 97] for start in range(0, len(data), cut * 97)]
    record = record_of(*(out(seq, piece) for seq, piece in enumerate(pieces)))
    assert_safe(drawn(record, width, raw=raw), width)
    assert all(len(part.text) <= FULL for part in record.parts)


def test_each_hostile_text_is_safe_at_every_width() -> None:
    for data in HOSTILE:
        for width in (1, 20, 1000):
            record = record_of(out(0, data), out(1, data, EventKind.STDERR), told(2, EventKind.SYSCALL, data.hex()))
            assert_safe(drawn(record, width), width)
            assert_safe(drawn(record, width, raw=True), width)


def test_events_and_exit_are_made_safe_too() -> None:
    record = record_of(told(0, EventKind.STATE, "waiting \x1b[2J\n[red]"), told(1, EventKind.WINDOW, "\x1b]0;x\x07"))
    record.parts[0].unfolded = True
    assert_safe(drawn(record), 80)


def test_a_character_cut_across_events_is_whole() -> None:
    data = "naïve 漢字 👍".encode()
    record = record_of(*(out(seq, data[seq : seq + 1]) for seq in range(len(data))))
    assert drawn(record) == ["  naïve 漢字 👍"]


def test_heaps_of_combining_characters_are_thinned() -> None:
    assert len(readable("e" + "\u0301" * 5_000 + "x")) < 20


def test_an_emoji_is_as_wide_as_every_terminal_says() -> None:
    assert readable("👩‍🚀 ❤️ 👍🏽 می‌خواهم") == "👩🚀 ❤ 👍 می‌خواهم"


def test_much_output_keeps_the_end_and_says_what_is_left_out() -> None:
    line = b"0123456789abcdef\n"
    started = time.perf_counter()
    record = Record()
    for seq in range(160):
        record.add([out(seq, line * 4_096)])
    took = time.perf_counter() - started
    kept = sum(len(part.text) for part in record.parts[1:])
    assert record.parts[0].kind is Kind.LEFT_OUT
    assert f"{160 * 4_096 * len(line) - kept:,} characters" in record.parts[0].text
    assert KEEP - 2 * FULL < kept <= KEEP
    assert took < 10  # seconds for 11 MB; about 1 alone on a machine


def test_code_stays_code_where_a_part_ends_within_it() -> None:
    code = "".join(f"    call({number})  # *not* emphasis\n" for number in range(300))
    record = record_of(out(0, f"```py\n{code}```\n\nafter *it*\n".encode()))
    lines = drawn(record)
    assert len(record.parts) > 2
    assert [f"        call({n})  # *not* emphasis" for n in range(300)] == [li for li in lines if "call" in li]
    assert "  after it" in lines


def test_line_breaks_and_blank_lines_stay() -> None:
    text = "one\ntwo\n\nthree\n- a\n- b\n\nfour\n"
    assert [line.plain for line in markdown(text, 40, Look())] == ["one", "two", "", "three", "• a", "• b", "", "four"]


def test_links_and_images_are_shown() -> None:
    text = "[here](http://a.b) <http://c.d> ![cat](http://e.f/g.png)\n\n[ref]: http://h.i\n"
    lines = [line.plain for line in markdown(text, 200, Look())]
    assert lines == ["here (http://a.b) http://c.d [image: cat] (http://e.f/g.png)", "", "[ref]: http://h.i"]


def test_html_is_text() -> None:
    assert [line.plain for line in markdown("<think>so</think>\n<script>x</script>", 80, Look())] == [
        "<think>so</think>",
        "<script>x</script>",
    ]


def test_a_table_fits_or_is_plain() -> None:
    text = "| name | what it is |\n|---|---|\n| fox | a quick brown animal that jumps |\n"
    lines = [line.plain for line in markdown(text, 24, Look())]
    assert lines == ["name  what it is        ", "────  ──────────────────", "fox   a quick brown ani…"]
    assert all(cell_len(line.plain) <= 8 for line in markdown(text, 8, Look()))


def test_events_fold_into_one_mark_and_never_cut_a_line() -> None:
    record = record_of(
        told(0, EventKind.STATE, "ready llm.chat"),
        out(1, b"The sea "),
        told(2, EventKind.STATE, "running decoding"),
        told(3, EventKind.SYSCALL, "llm.chat ok"),
        out(4, b"is deep.\n"),
        told(5, EventKind.STATE, "waiting proc.recv"),
        told(6, EventKind.EXIT, "0"),
    )
    assert drawn(record) == ["▸ ready llm.chat", "  The sea is deep.", "▸ llm.chat", "ended"]
    record.parts[2].unfolded = True
    assert len(drawn(record)) == 7


def test_a_summary_counts_calls_and_names_failures() -> None:
    events = [told(0, EventKind.SYSCALL, "tool.call ok")] * 2 + [told(1, EventKind.SYSCALL, "mem.get EPERM")]
    assert summary(events) == "tool.call x2 · mem.get EPERM"


def test_a_suspension_is_told_among_calls() -> None:
    events = [told(0, EventKind.SYSCALL, "llm.chat ok"), told(1, EventKind.STATE, "suspended by a person")]
    assert summary(events) == "llm.chat · suspended by a person"


def test_the_reply_is_what_was_written_last() -> None:
    record = record_of(
        out(0, b"first\n"),
        told(1, EventKind.SYSCALL, "llm.chat ok"),
        out(2, _REPLIES.encode()),
        told(3, EventKind.EXIT, "0"),
    )
    assert _REPLIES.strip("\n") == record.reply()


def test_streaming_piece_by_piece_draws_the_same_as_at_once() -> None:
    data = (_REPLIES * 100).encode()
    once, pieces = record_of(out(0, data)), Record()
    for seq in range(0, len(data), 11):
        pieces.add([out(seq, data[seq : seq + 11])])
    assert drawn(once) == drawn(pieces)
