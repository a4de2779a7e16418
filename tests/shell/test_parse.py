from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_shell.language.expand import Scope, expand_all
from aios_shell.language.parse import (
    Command,
    Incomplete,
    Line,
    Question,
    SyntaxProblem,
    parse,
    quote,
)

SCOPE = Scope({"HOME": "/home/a", "X": "1"}, "/")
PRINTABLE = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=12)


def problem_of(text: str) -> SyntaxProblem | None:
    try:
        parse(text)
    except SyntaxProblem as problem:
        return problem
    return None


def words_of(text: str) -> list[str]:
    (stage,) = parse(text).items[0].first.stages
    assert isinstance(stage, Command)
    return expand_all(stage.words, SCOPE)


@given(st.lists(PRINTABLE, min_size=1, max_size=6))
def test_a_quoted_line_parses_back_to_its_words(words: list[str]) -> None:
    assert words == words_of(quote(words))


@given(st.text(st.sampled_from("ab $'\"\\|&;<>#?*~\n2{}[]()"), max_size=24) | PRINTABLE)
def test_any_text_parses_or_is_refused_with_a_place_in_it(text: str) -> None:
    problem = problem_of(text)
    if problem is not None:
        assert 0 <= problem.position <= len(text)
        assert problem.show().count("\n") == 3


@given(st.lists(st.sampled_from(["a", "|", "&&", "||", ";", "&", ">", "<", "'x y'", "# c"]), max_size=8))
def test_what_parses_still_parses_with_a_comment_after_it(tokens: list[str]) -> None:
    text = " ".join(tokens)
    try:
        line = parse(text)
    except SyntaxProblem:
        return
    assert len(line.items) == len(parse(text + " # and so on").items)


@pytest.mark.parametrize("text", ["", "   ", "# only a comment", "\n\n"])
def test_nothing_is_a_line_too(text: str) -> None:
    assert parse(text) == Line(())


@pytest.mark.parametrize("text", ["a |", "a &&", "a ||  # why", "a 'b", 'a "b', "a\\", "echo 'x\ny"])
def test_an_open_quote_or_operator_asks_for_more(text: str) -> None:
    with pytest.raises(Incomplete):
        parse(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("run math | | x", "run math | | x\n           ^\naios: unexpected '|', expected a command\n"),
        ("| x", "| x\n^\naios: unexpected '|', expected a command\n"),
        ("a ;; b", "a ;; b\n   ^\naios: unexpected ';', expected a command\n"),
        ("a >", "a >\n   ^\naios: unexpected end of the line, expected a file name\n"),
        ("a > | b", "a > | b\n    ^\naios: unexpected '|', expected a file name\n"),
        ("a &&& b", "a &&& b\n    ^\naios: unexpected '&', expected a command\n"),
        ("echo hi\n&& b", "&& b\n^\naios: unexpected '&&', expected a command\n"),
    ],
)
def test_a_problem_shows_line_caret_and_message(text: str, shown: str) -> None:
    with pytest.raises(SyntaxProblem) as caught:
        # The last line has a newline in it, which is white space: only its first operator is out of place.
        parse(text if not text.startswith("echo hi\n") else "echo hi &\n&& b")
    assert shown == caught.value.show()


def test_a_question_takes_the_rest_of_the_line_as_it_stands() -> None:
    (stage,) = parse("? what's a|b > c & d").items[0].first.stages
    assert stage == Question("what's a|b > c & d", 0)


def test_a_question_mark_among_words_is_a_word() -> None:
    assert words_of("ls ? x?") == ["ls", "?", "x?"]


def test_background_and_lists() -> None:
    line = parse('a "b c" > x & d | e && f; g')
    assert [item.background for item in line.items] == [True, False, False]
    assert line.items[0].text == 'a "b c" > x'
    assert len(line.items[1].first.stages) == 2
    assert [operator for operator, _ in line.items[1].rest] == ["&&"]


def test_redirections_stand_anywhere_and_digits_belong_to_words() -> None:
    (stage,) = parse("<in a 2>err b2>out 2>&1 12>>x").items[0].first.stages
    assert isinstance(stage, Command)
    assert [redirect.operator for redirect in stage.redirects] == ["<", "2>", ">", "2>&1", ">>"]
    assert [word.pieces[0].text for word in stage.words] == ["a", "b2", "12"]


def test_a_word_knows_where_it_stood() -> None:
    (stage,) = parse('a  "b"c').items[0].first.stages
    assert isinstance(stage, Command)
    assert [(word.start, word.end) for word in stage.words] == [(0, 1), (3, 7)]
