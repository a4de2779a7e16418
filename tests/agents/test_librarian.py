"""The bundled librarian: what a sentence may ask for, and what is done about it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from system import LIGHT

from aios_agents.bundled.librarian.plan import CHANGES, VERBS, Shelf, Step, choices, clauses, step_of
from aios_agents.testing import Lab, Reply
from aios_kernel.client.storage import StorageClient

SHELF = Shelf(
    files=("notes/todo.txt", "draft.md", "letters/old draft.txt", "report.pdf"),
    folders=("notes", "letters"),
    bin=("plan.txt",),
)


def only(clause: str, shelf: Shelf = SHELF) -> Step:
    """The step, where the sentence leaves one choice for everything."""
    (schema,) = choices(clause, shelf)
    fields = {name: kind.get("const", kind.get("enum", [None])[0]) for name, kind in schema["properties"].items()}
    assert all(len(kind.get("enum", [0])) == 1 for kind in schema["properties"].values()), schema
    return step_of(fields)


@pytest.mark.parametrize(
    ("clause", "step"),
    [
        ("delete draft.md", Step("delete", "draft.md")),
        ("please get rid of the report", Step("delete", "report.pdf")),
        ("rename draft.md to final.md", Step("move", "draft.md", to="final.md")),
        ("move the todo to archive/todo.txt.", Step("move", "notes/todo.txt", to="archive/todo.txt")),
        ('append "milk & eggs" to notes/todo.txt', Step("append", "notes/todo.txt", content="milk & eggs")),
        (
            'write "Dear Ada, and so on" into letters/ada.txt',
            Step("write", "letters/ada.txt", content="Dear Ada, and so on"),
        ),
        ("save call the bank to bank.txt", Step("write", "bank.txt", content="call the bank")),
        ("create empty.txt", Step("write", "empty.txt")),
        ("search for quarterly figures", Step("search", words="quarterly figures")),
        ("undo the last change to draft.md", Step("rollback", "draft.md")),
        ("revert draft.md to version 3", Step("rollback", "draft.md", version=3)),
        ("restore plan.txt", Step("restore", "plan.txt")),
        ("share the report with planner", Step("share", "report.pdf", to="planner")),
        ("show me the draft of the letters", Step("read", "letters/old draft.txt")),
        ("delete the folder letters", Step("delete", "letters")),
        ("delete old draft.txt", Step("delete", "letters/old draft.txt")),
        ("print notes/todo.txt", Step("read", "notes/todo.txt")),
    ],
)
def test_what_a_sentence_leaves_to_choose(clause: str, step: Step) -> None:
    assert only(clause) == step


def test_what_is_not_named_is_not_to_be_had() -> None:
    assert choices("delete the invoices", SHELF) == []
    assert [each["properties"]["do"]["const"] for each in choices("delete everything", Shelf())] == ["list"]
    assert choices("append to draft.md", SHELF) == []  # what?
    assert choices("share the report", SHELF) == []  # with whom?


@given(st.text(alphabet=st.sampled_from("abde lmorw.\"'/")))
def test_no_verb_no_change(clause: str) -> None:
    for schema in choices(clause, SHELF):
        do = schema["properties"]["do"]["const"]
        assert do not in CHANGES or re.search(rf"\b(?:{VERBS[do]})\b", clause, re.IGNORECASE)


@given(st.text(max_size=80))
def test_no_sentence_breaks_it(clause: str) -> None:
    for part in clauses(clause):
        for schema in choices(part, SHELF):
            json.dumps(schema)


@pytest.mark.parametrize(
    ("request_", "parts"),
    [
        ("delete a.txt", ["delete a.txt"]),
        ("delete a.txt and b.txt", ["delete a.txt and b.txt"]),
        ("rename a.txt to b.txt, then show it", ["rename a.txt to b.txt", "show it"]),
        ("make a folder x/y and move a.txt to x/y/a.txt", ["make a folder x/y", "move a.txt to x/y/a.txt"]),
        ('write "one and then delete all" to a.txt; list', ['write "one and then delete all" to a.txt', "list"]),
    ],
)
def test_parts(request_: str, parts: list[str]) -> None:
    assert clauses(request_) == parts


def test_steps_see_what_those_before_have_done() -> None:
    shelf = SHELF.after(only("rename draft.md to final.md"))
    assert only("print it", shelf) == Step("read", "final.md")
    assert only("delete final.md", shelf) == Step("delete", "final.md")
    assert choices("print draft.md", shelf) == []


# --- with a kernel


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


def step(**fields: object) -> Reply:
    return Reply(json.dumps(fields))


def test_nothing_is_changed_without_a_yes(lab: Lab) -> None:
    wish, reply = 'write "hello" to hi.txt', step(do="write", path="hi.txt", content="hello")
    run = lab.run("librarian", wish, replies=[reply])
    assert (run.exit_code, run.stdout) == (126, "1. write 'hello' to hi.txt\n")
    assert len(run.questions) == 1
    assert "write 'hello' to hi.txt" in run.questions[0]
    run = lab.run("librarian", wish, replies=[reply], allow=True)
    assert (run.exit_code, run.stdout) == (0, "1. write 'hello' to hi.txt\nhi.txt is there, version 1\n")


def test_the_kernel_asks_about_what_it_would_lose(lab: Lab) -> None:
    files = StorageClient(lab.client)
    files.write("librarian", "old.txt", b"once\n")
    reply = step(do="delete", path="old.txt")
    run = lab.run("librarian", "delete old.txt", replies=[reply])
    assert (run.exit_code, run.questions) == (126, ["delete old.txt and all in it (to the bin)"])
    run = lab.run("librarian", "delete old.txt", replies=[reply], allow=True)
    assert run.stdout == "1. move old.txt to the bin\nold.txt is in the bin (1 file)\n"
    run = lab.run("librarian", "bring back old.txt", replies=[step(do="restore", path="old.txt")], allow=True)
    assert run.exit_code == 0
    assert [info.path for info in files.entries("librarian") if info.path == "old.txt"] == ["old.txt"]


def test_a_plan_of_several_steps(lab: Lab) -> None:
    StorageClient(lab.client).write("librarian", "draft.md", b"words\n")
    run = lab.run(
        "librarian",
        "rename draft.md to letters/final.md, then show it",
        replies=[
            step(do="move", path="draft.md", to="letters/final.md"),
            step(do="read", path="letters/final.md"),
        ],
        allow=True,
    )
    assert run.stdout == (
        "1. move draft.md to letters/final.md\n2. read letters/final.md\nletters/final.md is there, version 1\nwords\n"
    )
    assert len(run.questions) == 1


def test_to_look_nobody_is_asked(lab: Lab) -> None:
    StorageClient(lab.client).write("librarian", "sky.txt", b"blue\n")
    run = lab.run("librarian", "which files mention blue", replies=[step(do="search", words="blue")])
    assert (run.exit_code, run.stdout, run.questions) == (0, "sky.txt:1: blue\n", [])


def test_what_cannot_be_told_is_said(lab: Lab) -> None:
    run = lab.run("librarian", "delete the invoices")
    assert (run.exit_code, run.stdout) == (1, "")
    assert "cannot tell which file" in run.stderr
    assert lab.run("librarian", "").exit_code == 2


@pytest.mark.model
def test_on_the_embedded_model() -> None:
    with Lab(real_model=True, config=LIGHT) as lab:
        files = StorageClient(lab.client)
        for path, text in {
            "shopping.txt": "bread\n",
            "notes/trip.md": "Oslo in June\n",
            "old draft.txt": "?\n",
        }.items():
            files.write("librarian", path, text.encode())
        for wish, says in (
            ("show me the trip notes", "Oslo in June\n"),
            ("add milk to shopping.txt", "1. add 'milk' to shopping.txt\nshopping.txt is there, version 2\n"),
            (
                "rename the old draft to letters/first.txt and show it",
                "1. move old draft.txt to letters/first.txt\n2. read letters/first.txt\n"
                "letters/first.txt is there, version 1\n?\n",
            ),
            ("delete shopping.txt", "1. move shopping.txt to the bin\nshopping.txt is in the bin (1 file)\n"),
        ):
            run = lab.run("librarian", wish, allow=True)
            assert run.stdout == says, (wish, run)
