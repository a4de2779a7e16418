"""A few paragraphs on a subject, by plan-and-execute: the model plans the headings, then writes each of them."""

from __future__ import annotations

from aios_agents.patterns import PlanAndExecute


class Primer(PlanAndExecute):
    planner = "List three or four headings for a short text about the subject."
    examples = (
        ("bees", ("What bees are", "How bees live", "Why bees matter")),
        ("bread", ("What bread is made of", "How bread is baked", "Kinds of bread", "How long bread keeps")),
        ("the moon", ("What the moon is", "How the moon moves", "Who has been on the moon")),
    )
    worker = "Write two sentences for the heading. Plain words, facts only."
    worked = (
        (
            "bees: How bees live",
            "Bees live in colonies of thousands around one queen. The workers build the combs, guard them and feed the "
            "young.",
        ),
        (
            "bread: How bread is baked",
            "The dough is kneaded, left to rise, and baked in a hot oven. The heat turns its water to steam and makes "
            "the crust.",
        ),
    )
    steps = (3, 4)
    options = {"max_tokens": 70, "stop": ["\n"], "repeat_penalty": 1.1}  # at 1.0 the 135M model goes in circles

    def prompt(self, task: str, step: str, done: list[tuple[str, str]]) -> str:  # noqa: ARG002 - they lead it astray
        """Without what is written already: a small model repeats it."""
        return f"{task}: {step}"
