"""What a process may ask for."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from aios_kernel.access.need import GROUPS
from aios_kernel.errors import BadRequest, InvalidState, NoSuchAgent
from aios_kernel.process import Process
from aios_kernel.protocol import AgentInfo, PolicyClass, RunRequest
from aios_kernel.scheduler.classes import HIGHEST_FIRST

MANY: Final = 1 << 62  # tokens: more than there will ever be


def check_request(request: RunRequest, model: str) -> None:
    """model: the reference of the one that the kernel runs, "" without one. Raises BadRequest, InvalidState."""
    check_nice(request.nice)
    check_group(request.group)
    if request.max_tokens is not None and request.max_tokens < 1:
        raise BadRequest(f"max_tokens = {request.max_tokens}: must be at least 1", key="max_tokens")
    if request.deadline_s is not None and not request.deadline_s > 0:
        raise BadRequest(f"deadline_s = {request.deadline_s:g}: must be more than 0", key="deadline_s")
    if request.fork is not None and request.snapshot is not None:
        raise BadRequest("fork and snapshot exclude each other: there is one context", key="fork")
    if request.policy_class is not None and request.policy_class not in HIGHEST_FIRST:
        accepted = [policy_class.value for policy_class in HIGHEST_FIRST]
        message = f"policy class {request.policy_class!r}: must be one of {', '.join(accepted)}"
        raise BadRequest(message, key="policy_class", accepted=accepted)
    if request.model not in (None, model):
        raise InvalidState(
            f"the kernel runs {model or 'no model'}: `aios model use {request.model}` first", model=model
        )


def inherited_class(wanted: str | None, parents: PolicyClass) -> str:
    """The policy class of a child that is to have `wanted`: at best its parent's. An unknown one is let pass."""
    if wanted not in HIGHEST_FIRST:
        return wanted or parents
    return max(PolicyClass(wanted), parents, key=HIGHEST_FIRST.index)


def within(request: RunRequest, parent: Process, now: float) -> RunRequest:
    """A child's request within what its parent has left of time and tokens. Raises LimitHit where that is nothing."""
    mine = parent.request
    if mine.deadline_s is not None:
        left_s = max(parent.started_at + mine.deadline_s - now, 0.001)  # then the parent's own end is near
        request = replace(request, deadline_s=min(left_s, left_s if request.deadline_s is None else request.deadline_s))
    with parent.granted(MANY if request.max_tokens is None else request.max_tokens) as left:
        return request if mine.max_tokens is None else replace(request, max_tokens=left)


def check_nice(nice: int) -> None:
    """Raises BadRequest."""
    if not -20 <= nice <= 19:
        raise BadRequest(f"nice = {nice}: must be -20 to 19", key="nice")


def check_group(group: str) -> None:
    """Raises BadRequest."""
    if group not in GROUPS:
        raise BadRequest(f"group {group!r}: must be one of {', '.join(GROUPS)}", key="group", accepted=list(GROUPS))


def find_agent(name: str, installed: Sequence[AgentInfo]) -> AgentInfo:
    """Raises NoSuchAgent."""
    agents = {agent.name: agent for agent in installed}
    if name not in agents:
        near = difflib.get_close_matches(name, agents, n=1)
        hint = f"; did you mean {near[0]}?" if near else "; see `aios agents ls`"
        raise NoSuchAgent(f"no agent {name!r}{hint}", agent=name, near=near)
    return agents[name]


def limited(request: RunRequest, agent: AgentInfo) -> RunRequest:
    """The request within what the agent's manifest says. It never gives more than was asked for. Raises BadRequest."""
    check_group(agent.group)
    group = min(request.group, agent.group, key=GROUPS.index)
    deadline_s = agent.deadline_s if request.deadline_s is None else request.deadline_s
    return replace(request, group=group, deadline_s=deadline_s)
