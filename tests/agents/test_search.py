"""Word search, and the pure parts of the bundled agents."""

from __future__ import annotations

import pytest

from aios_agents import search
from aios_agents.bundled.math.agent import is_grounded, uses_all
from aios_agents.bundled.rec.agent import find
from aios_agents.bundled.summarize.agent import split
from aios_agents.bundled.travel.agent import find_cities
from aios_agents.generation import sentence_end


def test_rare_words_and_endings_count() -> None:
    texts = ["a story of the sea", "stories of a robot", "the sea and a ship"]
    ranked = search.rank("robot story", texts, str)
    assert [text for _, text in ranked] == [texts[1], texts[0], texts[2]]
    assert ranked[-1][0] == 0


@pytest.mark.parametrize(
    ("question", "formula", "grounded", "all_used"),
    [
        ("What is 12*7?", "12 * 7", True, True),
        ("What is 12*7?", "12 + 7", False, False),
        ("What is 12*7?", "12 * 8", False, False),
        ("What is (1+2)*(3+4)?", "1 + 2 + 3 + 4", False, False),
        ("What is (1+2)*(3+4)?", "(1+2)*(3+4)", True, True),
        ("5 and 6 and 7", "5 + 6", True, False),
        ("18 of 45", "45 - 18 + 18", True, False),
        ("What is 15% of 200?", "15 * 200 / 100", True, True),
        ("What is 1,234 * 2.50?", "1234 * 2.5", True, True),
        ("the square root of 144", "144 / 2", False, False),
        ("the square root of 144", "sqrt(144)", True, True),
        ("the square of 15", "15 * 15", True, True),
        ("a 15-year-old (in 3 years)", "15 + 3", True, True),
    ],
)
def test_formulas_must_come_from_the_question(question: str, formula: str, grounded: bool, all_used: bool) -> None:
    assert (is_grounded(formula, question), uses_all(formula, question)) == (grounded, all_used)


def test_long_texts_are_split_at_their_seams() -> None:
    text = "First paragraph here.\n\nSecond one, longer. With two sentences.\n\n" + "x" * 50
    parts = split(text, 30)
    assert max(len(part) for part in parts) <= 30
    assert parts[0] == "First paragraph here."
    assert "".join("".join(parts).split()) == "".join(text.split())


def test_sentence_ends() -> None:
    assert sentence_end("One. Two? Thr") == len("One. Two?")
    assert sentence_end('He said "No!" and 3.5') == len('He said "No!"')
    assert sentence_end("nothing") == 0


def test_what_bundled_data_has_for_a_wish() -> None:
    assert find_cities("Three days in Rome") == ["Rome"]
    assert len(find_cities("qwerty")) == 3
    assert {item["title"] for item in find("a scary book")} == {"Dracula", "The Hound of the Baskervilles"}
    assert find("qwerty") == []
