"""A city trip in steps: read the wish, find a city, look up flights, hotels and sights, choose, add up, write the plan.

The model chooses among what the tools find (under a JSON Schema, so it can name nothing else) and writes the days; the
calculator adds up the money.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Final

from aios_agents import Agent, AgentFailed, Message, search, tool

Offer = dict[str, Any]

PLACES: Final[dict[str, dict[str, Any]]] = json.loads(
    Path(__file__).with_name("places.json").read_text(encoding="utf-8")
)
NUM_CITIES: Final = 3  # to choose from, where the search finds no clear winner
MAX_DAYS: Final = 7

DAYS: Final = (
    ("three days of ruins and pasta", 3),
    ("a weekend in Paris", 2),
    ("I want to see whales, 4 days", 4),
    ("somewhere with palm trees for a day", 1),
    ("Berlin with the kids, five days", 5),
    ("a week in the mountains", 7),
    ("a trip to Oslo", 2),
)
SENTENCES: Final = (
    ("Eiffel Tower: an iron tower above the river", "Climb the iron tower above the river and enjoy the view."),
    ("Borough Market: stalls of cheese, bread and fruit", "Come hungry and taste your way through cheese and bread."),
    ("Vigeland Park: two hundred statues in the open air", "Take a slow walk and meet two hundred statues."),
)


@tool
def find_cities(wish: str) -> list[str]:
    """Cities that fit a wish, best first."""
    ranked = search.rank(
        wish, list(PLACES), lambda city: f"{city} {PLACES[city]['known_for']} {PLACES[city]['sights']}"
    )
    best = ranked[0][0]
    return [city for score, city in ranked if score == best][:NUM_CITIES]


@tool
def find_flights(city: str) -> list[Offer]:
    """Flights to the city: airline, time of departure, price in euros there and back."""
    return list(PLACES[city]["flights"])


@tool
def find_hotels(city: str) -> list[Offer]:
    """Hotels in the city: name, stars, price of a night in euros."""
    return list(PLACES[city]["hotels"])


@tool
def find_sights(city: str) -> list[Offer]:
    """Sights of the city: name, fee in euros, what it is."""
    return list(PLACES[city]["sights"])


async def main(agent: Agent) -> None:
    """Print the plan; the steps to it are told on standard error. Exit 2 without a wish."""
    wish = await agent.input()
    if not wish:
        raise AgentFailed('where to? for example: travel "three days in Rome"', code=2)
    num_days = await count_days(agent, wish)
    city = await choose(agent, wish, find_cities(wish))
    agent.note(f"travel: looking up flights, hotels and sights for {num_days} days in {city}")
    flights, hotels, sights = await asyncio.gather(
        *(finder.run({"city": city}) for finder in (find_flights, find_hotels, find_sights))
    )
    agent.write(f"{city}, {num_days} day{'s' * (num_days > 1)}\n")
    fees = 0
    about = {sight["name"]: f"{sight['name']}: {sight['about']}" for sight in sights}
    for day in range(1, num_days + 1):
        if not about:
            agent.write(f"Day {day}: free\n")
            continue
        name = await choose(agent, wish, list(about), "\n".join(about.values()))
        sight = next(sight for sight in sights if sight["name"] == name)
        agent.write(f"Day {day}: {name}, {sight['fee']} euros. ")
        await describe(agent, about.pop(name))
        fees += sight["fee"]
    for style, pick in (("Cheapest", min), ("Best", max)):
        flight = pick(flights, key=lambda offer: offer["price"])
        hotel = pick(hotels, key=lambda offer: offer["night"])
        agent.write(
            f"{style}: {flight['airline']} at {flight['leaves']} ({flight['price']} euros both ways), "
            f"{hotel['name']} ({hotel['stars']} stars, {hotel['night']} euros a night): "
        )
        sums = f"{flight['price']} + {num_days} * {hotel['night']} + {fees}"
        agent.write(f"{sums} = {await agent.tool('calculator', expression=sums)} euros\n")


async def count_days(agent: Agent, wish: str) -> int:
    """How many days the wish asks for, as the model reads it."""
    messages: list[Message] = [{"role": "system", "content": "How many days does the trip take?"}]
    for example, days in DAYS:
        messages.append({"role": "user", "content": example})
        messages.append({"role": "assistant", "content": json.dumps({"days": days})})
    messages.append({"role": "user", "content": wish})
    found = await agent.ask_json(messages, one_of("days", list(range(1, MAX_DAYS + 1))), max_tokens=20)
    return int(found["days"])


async def choose(agent: Agent, wish: str, names: list[str], listing: str = "") -> str:
    """The one of `names` that the model likes best for the wish; without asking it where there is but one."""
    if len(names) == 1:
        return names[0]
    question = f"{listing or ', '.join(names)}\n\nA traveller wants: {wish}\nWhich of these is best?"
    found = await agent.ask_json(question, one_of("name", names), max_tokens=40)
    return str(found["name"])


async def describe(agent: Agent, sight: str) -> None:
    """Stream one sentence about a sight, given as "name: what it is"."""
    messages: list[Message] = [
        {"role": "system", "content": "Write one short sentence for a travel plan. Use only the facts given."}
    ]
    for given, sentence in SENTENCES:
        messages += [{"role": "user", "content": given}, {"role": "assistant", "content": sentence}]
    messages.append({"role": "user", "content": sight})
    await agent.answer(messages, max_tokens=50, stop=["\n"])


def one_of(key: str, values: list[Any]) -> dict[str, Any]:
    """The JSON Schema of {key: one of values}."""
    return {"type": "object", "properties": {key: {"enum": values}}, "required": [key], "additionalProperties": False}
