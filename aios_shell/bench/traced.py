"""What the benchmarks that replay a trace have in common: ours and the peer in turn, and what their replies say."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Final

from aios_shell.bench import Setting
from aios_shell.bench.lab import Lab
from aios_shell.bench.measure import Goal, Measure, Run, failed, measure
from aios_shell.bench.peer import choose, warm
from aios_shell.bench.replay import Endpoint, Reply, RequestFailed, play
from aios_shell.bench.trace import Trace, Writer

RIVAL: Final = "fifo"  # our own policy that stands in for the peer: it never takes a slot back
Side = dict[str, Any]  # one playing of a trace, see `summary`


@dataclass(frozen=True, slots=True)
class Traced:
    """A benchmark that replays a trace.

    slots: of ours, and what is wanted of the peer. rival: without a peer, our policy RIVAL is the other side.
    """

    slots: int
    trace: Callable[[Writer, bool], Trace]  # of a writer, and whether it is to be quick
    rival: bool


@dataclass(frozen=True, slots=True)
class _Player:
    """One of the two sides of a comparison."""

    side: str  # ours, peer
    label: str
    server: Endpoint
    policy: str | None = None  # of our kernel, for this side


def runs(setting: Setting, spec: Traced) -> Generator[Run, None, None]:
    """Yields {"peer_name", "judged", "ours": Side, "peer": Side or None}, the first side alternating."""
    peer = choose(setting.peers, spec.slots)
    slots = (peer.slots if peer else None) or spec.slots
    if peer and slots != spec.slots:
        setting.note(f"the peer serves {slots} sequences at once, so ours has {slots} slots; meant are {spec.slots}")
    if not peer:
        setting.note("no --peer: the goals beside another server were not judged")
    with setting.lab({"model": {"slots": slots}}, listen=True) as here:
        ours = here.endpoint()
        warm(ours)
        players = [_Player("ours", "ours", ours)]
        if peer:
            players.append(_Player("peer", peer.label, peer))
            _note_model(setting, peer, here)
        elif spec.rival:
            players.append(_Player("peer", f"our policy {RIVAL}", ours, RIVAL))
        setting.begin(setting.runs * len(players))
        for number in range(setting.runs):
            peer_name = players[1].label if len(players) > 1 else ""
            run: Run = {"peer_name": peer_name, "judged": peer is not None, "peer": None, "seed": setting.seed}
            for player in players if number % 2 == 0 else players[::-1]:
                setting.step(f"run {number + 1}, {player.label}")
                # Two policies are of one kernel: the second would find the prompts of the first.
                trace = spec.trace(
                    Writer(f"{setting.name} {setting.seed} {number} {player.policy or ''}"), setting.quick
                )
                with _policy(here, player.policy) if player.policy else nullcontext():
                    run[player.side] = _checked(player, play(trace, player.server))
            yield run


def _note_model(setting: Setting, peer: Endpoint, here: Lab) -> None:
    theirs, ours = Path(peer.model).name, Path(here.model).name
    if theirs != ours:
        setting.note(f"the peer runs {theirs}, ours {ours}")


@contextmanager
def _policy(here: Lab, name: str) -> Generator[None, None, None]:
    before = here.client.sched().policy
    here.client.set_sched(name)
    try:
        yield
    finally:
        here.client.set_sched(before)


def _checked(player: _Player, replies: Sequence[Reply]) -> Side:
    """Their summary. Raises RequestFailed where all of a group failed: there would be nothing to compare."""
    figures = summary(replies)
    for group, times in figures["completed_s"].items():
        if not times:
            raise RequestFailed(f"{player.label}: no {group} request succeeded: {figures['failures'][0]}")
    return figures


def summary(replies: Sequence[Reply]) -> Side:
    """Figures of one playing. Lists are by group; `completed_s` has one time for each conversation that succeeded,
    from its first request to its last reply."""
    good = [reply for reply in replies if not reply.error]
    groups = sorted({reply.group for reply in replies})
    span_s = max(reply.ended_s for reply in replies) - min(reply.sent_s for reply in replies)
    broken = {reply.conversation for reply in replies if reply.error}
    return {
        "span_s": _rounded(span_s),
        "tokens_in": sum(reply.tokens_in for reply in good),
        "tokens_cached": sum(reply.tokens_cached for reply in good),
        "tokens_out": sum(reply.tokens_out for reply in good),
        "first_s": {group: _firsts(good, group) for group in groups},
        "completed_s": {group: _completions(good, group, broken) for group in groups},
        "failures": [f"{r.group} {r.conversation}, turn {r.turn + 1}: {r.error}" for r in replies if r.error],
    }


def _firsts(replies: Sequence[Reply], group: str) -> list[float]:
    return [_rounded(s) for reply in replies if reply.group == group and (s := reply.first_after_s) is not None]


def _completions(replies: Sequence[Reply], group: str, broken: set[int]) -> list[float]:
    times: dict[int, list[Reply]] = {}
    for reply in replies:
        if reply.group == group and reply.conversation not in broken:
            times.setdefault(reply.conversation, []).append(reply)
    return [
        _rounded(max(reply.ended_s for reply in turns) - min(reply.sent_s for reply in turns))
        for turns in times.values()
    ]


def _rounded(seconds: float) -> float:
    return round(seconds, 4)


def versus(
    name: str,
    runs: Sequence[Run],
    figure: Callable[[Side], float],
    *,
    unit: str,
    lower_is_better: bool = False,
    goal: Goal | None = None,
) -> Measure:
    """One figure of each side's playings; the goal counts beside an external peer only."""
    return measure(
        name,
        [figure(run["ours"]) for run in runs],
        [figure(run["peer"]) for run in runs if run["peer"]],
        unit=unit,
        peer_name=runs[0]["peer_name"],
        lower_is_better=lower_is_better,
        goal=goal,
        judged=runs[0]["judged"],
    )


def produced_per_s(side: Side) -> float:
    """Tokens of the replies, a second."""
    return float(side["tokens_out"] / side["span_s"])


def total_per_s(side: Side) -> float:
    """Tokens of prompts and replies, a second."""
    return float((side["tokens_in"] + side["tokens_out"]) / side["span_s"])


def failures(runs: Sequence[Run]) -> list[Measure]:
    """A row for each side where requests failed."""
    rows = []
    for side, whose in (("ours", "requests to ours"), ("peer", "requests to the peer")):
        rows += failed(whose, [error for run in runs if run[side] for error in run[side]["failures"]])
    return rows


def pooled(runs: Sequence[Run], side: str, key: str, group: str) -> list[float]:
    """A group's figures of all runs."""
    return [value for run in runs if run[side] for value in run[side][key].get(group, ())]


def average(side: Side, key: str, group: str) -> float:
    return float(mean(side[key][group]))
