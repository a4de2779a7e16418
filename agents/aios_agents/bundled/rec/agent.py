"""Recommendations: a search finds what the catalogue has for the wish, the model ranks it and says why.

The ranking is made under a JSON Schema whose enum holds what was found, so nothing is recommended that does not exist.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from aios_agents import Agent, AgentFailed, Message, search

Item = dict[str, Any]  # title, kind, year, genres, about

DATA: Final = json.loads(Path(__file__).with_name("catalogue.json").read_text(encoding="utf-8"))
CATALOGUE: Final[list[Item]] = DATA["items"]
GENRE_WORDS: Final[dict[str, str]] = DATA["genres"]  # what else people call a genre, and a kind
KIND_WORDS: Final[dict[str, str]] = DATA["kinds"]
NUM_PICKS: Final = 3
NUM_CANDIDATES: Final = 5  # more, and a small model loses sight of the first ones

REASONS: Final = (
    (
        "Wish: something sad. Titanic, a romance film: two lovers meet on a ship that sinks",
        "You wanted something sad, and here two lovers meet on a ship that sinks.",
    ),
    (
        "Wish: animals. Watership Down, a fantasy book: rabbits look for a new home",
        "You wanted animals, and here rabbits look for a new home.",
    ),
    (
        "Wish: a clever thriller. Inception, a science fiction film: thieves steal secrets from dreams",
        "You wanted a clever thriller, and here thieves steal secrets from dreams.",
    ),
)


async def main(agent: Agent) -> None:
    """Print up to NUM_PICKS recommendations, each with a sentence why. Exit 1 if nothing fits, 2 without a wish."""
    wish = await agent.input()
    if not wish:
        raise AgentFailed('what do you like? for example: rec "a funny film for the family"', code=2)
    candidates = find(wish)
    if not candidates:
        raise AgentFailed(f"nothing in the catalogue fits; it has {', '.join(GENRE_WORDS)}")
    agent.note(f"rec: found {', '.join(item['title'] for item in candidates)}")
    shown = "\n".join(f"{item['title']}: {item['about']}" for item in candidates)
    for place in range(1, NUM_PICKS + 1):
        if candidates:
            item = await pick(agent, wish, shown, candidates)
            candidates.remove(item)
            agent.write(f"{place}. {item['title']} ({item['kind']}, {item['year']}): ")
            await explain(agent, wish, item)


def find(wish: str) -> list[Item]:
    """The catalogue's items that have most to do with the wish."""

    def text_of(item: Item) -> str:
        genres = " ".join(f"{genre} {GENRE_WORDS[genre]}" for genre in item["genres"])
        return f"{item['title']} {genres} {item['about']}"

    kinds = [kind for score, kind in search.rank(wish, list(KIND_WORDS), KIND_WORDS.__getitem__) if score > 0]
    fitting = [item for item in CATALOGUE if not kinds or item["kind"] in kinds]
    return [item for score, item in search.rank(wish, fitting, text_of)[:NUM_CANDIDATES] if score > 0]


async def pick(agent: Agent, wish: str, shown: str, candidates: list[Item]) -> Item:
    """The one of `candidates` that the model likes best for the wish.

    `shown` stays the same from pick to pick, so that the kernel reuses the prompt; only the enum shrinks.
    """
    titles = [item["title"] for item in candidates]
    schema = {
        "type": "object",
        "properties": {"title": {"enum": titles}},
        "required": ["title"],
        "additionalProperties": False,
    }
    question = f"{shown}\n\nSomebody asks for: {wish}\nWhich title fits best?"
    chosen = await agent.ask_json(question, schema, max_tokens=40)
    return candidates[titles.index(chosen["title"])]


async def explain(agent: Agent, wish: str, item: Item) -> None:
    """Stream one sentence that says why the item fits."""
    messages: list[Message] = [
        {"role": "system", "content": "Say in one short sentence why it fits the wish. Use only the facts given."}
    ]
    for given, reason in REASONS:
        messages += [{"role": "user", "content": given}, {"role": "assistant", "content": reason}]
    facts = f"Wish: {wish}. {item['title']}, a {item['genres'][0]} {item['kind']}: {item['about']}"
    messages.append({"role": "user", "content": facts})
    await agent.answer(messages, max_tokens=50, stop=["\n"])
