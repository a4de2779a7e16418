"""Arithmetic questions: the model turns the question into a formula, the calculator tool computes it.

A language model reads better than it reckons, so it never states a number of its own: a formula counts only when its
numbers and signs come from the question. If the most likely formula does not, others are drawn.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Final

from aios_agents import Agent, AgentFailed, Message
from aios_kernel.errors import ToolFailed

SYSTEM: Final = "Turn the question into one arithmetic expression for a calculator. Use the numbers of the question."
EXAMPLES: Final = (
    ("What is 3 + 5?", "3 + 5"),
    ("What is (4 + 6) * (15 - 9)?", "(4 + 6) * (15 - 9)"),
    ("How much is 144 divided by 12?", "144 / 12"),
    ("What is 5 to the power of 3?", "5 ** 3"),
    ("What is 20% of 60?", "60 * 20 / 100"),
    ("What is 30 minus 4 plus 9?", "30 - 4 + 9"),
    ("A box holds 8 eggs. How many eggs are in 9 boxes?", "8 * 9"),
    ("Split 40 coins among 5 friends. How many does each get?", "40 / 5"),
    ("Anna has 20 pens and loses 6. How many are left?", "20 - 6"),
    ("Ben has 11 cards and gets 5 more. How many does he have?", "11 + 5"),
    ("What is the square root of 81?", "sqrt(81)"),
    ("What is the square root of 25?", "sqrt(25)"),  # said once, or earlier, the 135M model does not take it up
)
SCHEMA: Final = {
    "type": "object",
    "properties": {"expression": {"type": "string", "maxLength": 60}},
    "required": ["expression"],
    "additionalProperties": False,
}
MAX_TOKENS: Final = 80  # a formula of 60 characters, and the JSON around it
TEMPERATURE: Final = 0.8
NUM_DRAWS: Final = 8  # further formulas to draw when the most likely one does not fit

# Words that put a number into a question without writing it in digits.
NUMBER_WORDS: Final = {
    **{"one": "1", "two": "2", "three": "3", "four": "4", "five": "5"},
    **{"six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10"},
    **{"dozen": "12", "half": "2", "double": "2", "twice": "2", "square": "2", "cube": "3", "triple": "3"},
    **{"%": "100", "percent": "100", "minute": "60", "hour": "60", "day": "24", "week": "7", "year": "12"},
}


async def main(agent: Agent) -> None:
    """Print "formula = value". Exit 1 when no formula of the model fits the question, 2 without numbers in it."""
    question = await agent.input()
    if not numbers_of(question) and not implied_numbers(question):
        raise AgentFailed("there are no numbers in the question", code=2)
    partial: str | None = None
    for draw in range(NUM_DRAWS + 1):
        formula = await propose(agent, question, draw)
        if uses_all(formula, question) and await answer(agent, formula):
            return
        if partial is None and is_grounded(formula, question):
            partial = formula
    if partial is not None:
        agent.note("math: this formula leaves out a number of the question")
        if await answer(agent, partial):
            return
    raise AgentFailed(f"the model found no formula that fits the question (its last one: {formula})")


async def propose(agent: Agent, question: str, draw: int) -> str:
    """The model's formula: its most likely one for draw 0, else one drawn with that seed."""
    messages: list[Message] = [{"role": "system", "content": SYSTEM}]
    for asked, formula in EXAMPLES:
        messages.append({"role": "user", "content": asked})
        messages.append({"role": "assistant", "content": json.dumps({"expression": formula})})
    messages.append({"role": "user", "content": question})
    found = await agent.ask_json(
        messages, SCHEMA, temperature=TEMPERATURE if draw else 0.0, seed=draw, max_tokens=MAX_TOKENS
    )
    return str(found["expression"]).strip()


async def answer(agent: Agent, formula: str) -> bool:
    """Print the formula with its value; False when it has none."""
    try:
        value = await agent.tool("calculator", expression=formula)
    except ToolFailed:
        return False
    agent.write(f"{formula} = {value}\n")
    return True


def is_grounded(formula: str, question: str) -> bool:
    """Whether every number of the formula is in the question, and every sign of the question in the formula."""
    known, used = numbers_of(question) | implied_numbers(question), numbers_of(formula)
    same_root = ("root" in question.lower()) == ("sqrt" in formula)
    return bool(used) and used.keys() <= known.keys() and same_root and signs_in(question, formula)


def uses_all(formula: str, question: str) -> bool:
    """Whether the formula is grounded and uses each number of the question, and none more often than it is there."""
    used, asked = numbers_of(formula), numbers_of(question)
    return is_grounded(formula, question) and asked <= used <= asked + implied_numbers(question) + asked_twice(question)


def numbers_of(text: str) -> Counter[str]:
    """The numbers that are written in digits: thousands separators and closing zeros do not count."""
    found = re.findall(r"\d+(?:\.\d+)?", re.sub(r"(?<=\d),(?=\d{3})", "", text))
    return Counter(number.rstrip("0").rstrip(".") if "." in number else number for number in found)


def implied_numbers(question: str) -> Counter[str]:
    """The numbers that words of the question stand for."""
    words = re.findall(r"%|[a-z]+", question.lower())
    return Counter(NUMBER_WORDS[key] for word in words for key in (word, word.removesuffix("s")) if key in NUMBER_WORDS)


def asked_twice(question: str) -> Counter[str]:
    """For a square, which a formula may write as a product: each number once more."""
    return numbers_of(question) if "square" in question.lower() else Counter()


def signs_in(question: str, formula: str) -> bool:
    """Whether the signs written between the question's numbers are all in the formula."""
    sign = r"(?<![A-Za-z])[-+*/^()](?![A-Za-z])"  # not a hyphen, nor brackets around words
    written, used = (re.findall(sign, text.replace("**", "^")) for text in (question, formula))
    return Counter(written) <= Counter(used)
