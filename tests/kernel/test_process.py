from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_kernel.errors import NoSuchProcess
from aios_kernel.process import ALLOWED, ENDED, InvalidTransition, Process, ProcessTable
from aios_kernel.protocol import Pid, ProcState, RunRequest

S = ProcState


def make(table: ProcessTable, parent: Process | None = None) -> Process:
    return table.add(RunRequest("math"), parent=parent, model="m", at=0.0)


def end(process: Process, state: ProcState) -> None:
    process.exit_code, process.ended_at = 0, 1.0
    process.move(state, "done", 1.0)


def test_the_table_of_transitions_covers_every_state() -> None:
    assert set(S) == set(ALLOWED)
    assert ALLOWED[S.EXITED] == frozenset()
    assert ALLOWED[S.ZOMBIE] == {S.EXITED}
    assert all({S.ZOMBIE, S.EXITED} <= ALLOWED[state] for state in S if state not in ENDED)


@given(st.lists(st.tuples(st.sampled_from(S), st.text(max_size=2)), max_size=40))
def test_moves_follow_the_table_or_raise_with_the_story(moves: list[tuple[ProcState, str]]) -> None:
    process = make(ProcessTable())
    for state, reason in moves:
        before = process.state, process.reason
        allowed = state in ALLOWED[process.state] or (state is process.state and state not in ENDED)
        if allowed or (state, reason) == before:
            assert process.move(state, reason, 1.0) == ((state, reason) != before)
            assert (state, reason) == (process.state, process.reason)
        else:
            with pytest.raises(InvalidTransition, match=f"process 1: {process.state} -> {state}"):
                process.move(state, reason, 1.0)
            assert before == (process.state, process.reason)


def test_a_report_tells_the_last_moves() -> None:
    process = make(ProcessTable())
    process.move(S.RUNNING, "computing", 1.0)
    process.move(S.EXITED, "done", 2.0)
    with pytest.raises(InvalidTransition, match=r"new \(starting\), running \(computing\), exited \(done\)"):
        process.move(S.RUNNING, "again", 3.0)


def test_the_most_telling_activity_is_shown() -> None:
    process = make(ProcessTable())
    assert process.live_state() == (S.RUNNING, "computing")
    process.activities = {1: (S.WAITING, "proc.recv"), 2: (S.READY, "queued")}
    assert process.live_state() == (S.READY, "queued")
    process.activities[3] = (S.RUNNING, "decoding")
    assert process.live_state() == (S.RUNNING, "decoding")
    process.activities[4] = (S.ASKING, "may I?")
    assert process.live_state() == (S.ASKING, "may I?")


def test_pids_go_on_from_the_journal_and_are_never_reused() -> None:
    table = ProcessTable(last_pid=41)
    first = make(table)
    end(first, S.EXITED)
    table.forget(first)
    assert [first.pid, make(table).pid] == [42, 43]
    with pytest.raises(NoSuchProcess, match="no process 42"):
        table.need(42)


def test_descendants_know_their_ancestors() -> None:
    table = ProcessTable()
    mother = make(table)
    child = make(table, mother)
    grandchild = make(table, child)
    assert (mother.pid, child.pid) == grandchild.ancestors
    assert grandchild.is_descendant_of(mother.pid)
    assert not mother.is_descendant_of(child.pid)
    assert not mother.is_descendant_of(Pid(0))
    table.check_invariants()


def test_invariants_catch_a_zombie_without_a_parent() -> None:
    table = ProcessTable()
    mother = make(table)
    child = make(table, mother)
    end(child, S.ZOMBIE)
    table.check_invariants()
    assert [child] == table.zombies_of(mother.pid)
    end(mother, S.EXITED)
    with pytest.raises(AssertionError, match="zombie of an ended parent"):
        table.check_invariants()


@given(st.data())
def test_invariants_hold_through_any_family_life(data: st.DataObject) -> None:
    table = ProcessTable()
    for _ in range(data.draw(st.integers(1, 25))):
        alive = table.alive()
        if alive and data.draw(st.booleans()):
            process = data.draw(st.sampled_from(alive))
            parent = table.get(process.ppid)
            end(process, S.ZOMBIE if parent is not None and not parent.ended else S.EXITED)
            for zombie in table.zombies_of(process.pid):
                zombie.move(S.EXITED, "collected", 2.0)
                table.forget(zombie)
            if process.state is S.EXITED:
                table.forget(process)
        else:
            make(table, data.draw(st.sampled_from([None, *alive])))
        table.check_invariants()
