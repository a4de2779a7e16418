"""Foreign programs on the real model: what they get, and what of them is a process."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from daemons import Daemon
from foreign import Foreign, ask, joined, pid_of, text_of

from aios_kernel.client import KernelClient, launch, paths
from aios_kernel.client.access import AccessClient
from aios_kernel.errors import NotPermitted
from aios_kernel.protocol import EventKind, ProcState, Signal, Tier

pytestmark = pytest.mark.model

STORY = "Tell me about the sea."
LONG = 400  # tokens: longer than any test looks on
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}


@pytest.fixture(scope="module")
def daemon(home: Path) -> Daemon:
    paths().config_file.write_text('[kernel]\nlisten = "127.0.0.1:0"\n')
    return Daemon(launch.connect(pytest.fail), paths())


@pytest.fixture
def foreign(daemon: Daemon) -> Foreign:
    info = daemon.client.key("user")
    assert info.url is not None
    return Foreign(info.url, info.key)


@pytest.fixture
def running(foreign: Foreign) -> Iterator[Callable[..., tuple[int, Iterator[dict[str, Any]]]]]:
    """Starts a long completion: its process, and the chunks after the first. What is left of it ends with the test."""
    streams: list[Iterator[dict[str, Any]]] = []

    def start(said: str = STORY, max_tokens: int = LONG) -> tuple[int, Iterator[dict[str, Any]]]:
        stream = foreign.stream(said, max_tokens=max_tokens)
        streams.append(stream)
        return pid_of(next(stream)), stream

    yield start
    for stream in streams:
        stream.close()  # type: ignore[attr-defined]


def test_a_completion_is_a_process(daemon: Daemon, foreign: Foreign) -> None:
    reply = foreign.chat("Say\n hello.")
    assert reply["object"] == "chat.completion"
    assert reply["model"] == daemon.client.status().model
    assert (reply["choices"][0]["finish_reason"], reply["usage"]["completion_tokens"]) == ("length", 8)
    info = daemon.finished(pid_of(reply))
    assert (info.agent, info.task, info.group, info.ppid, info.os_pid) == ("http", "Say hello.", "user", 0, None)
    assert (info.exit_code, info.reason, info.tokens_out) == (0, "done", 8)
    assert 0 < info.tokens_in <= reply["usage"]["prompt_tokens"]
    events = daemon.events(info.pid)
    assert [event.data for event in events if event.kind is EventKind.SYSCALL] == ["llm.chat ok"]
    assert (events[-1].kind, events[-1].data) == (EventKind.EXIT, "0")
    assert daemon.output(info.pid).decode() == text_of(reply)


def test_a_stream_says_what_a_whole_reply_says(foreign: Foreign) -> None:
    whole = foreign.chat(STORY, max_tokens=20)
    chunks = list(foreign.stream(STORY, max_tokens=20, stream_options={"include_usage": True}))
    assert text_of(whole) == joined(iter(chunks))
    assert chunks[-1]["usage"]["total_tokens"] == whole["usage"]["total_tokens"]
    assert chunks[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]


def test_the_next_turn_goes_on_from_all_of_the_last_one(daemon: Daemon, foreign: Foreign) -> None:
    messages = [{"role": "user", "content": "Name ten animals that live in the sea, and say a word about each."}]
    first = foreign.chat(messages, max_tokens=24)
    daemon.finished(pid_of(first))
    status = daemon.client.status()
    assert (status.slots_used, status.kv_bytes > 0) == (0, True)
    messages += [{"role": "assistant", "content": text_of(first)}, {"role": "user", "content": "And on land?"}]
    spoken = first["usage"]["total_tokens"] - 1  # the last token was never fed
    assert cached_of(foreign.chat(messages, max_tokens=8)) == spoken
    assert cached_of(foreign.chat(messages, max_tokens=8)) < spoken  # another turn has gone on from it


def test_an_edited_history_finds_what_it_shares_and_no_more(foreign: Foreign) -> None:
    messages = [{"role": "user", "content": "Name ten animals that live in the woods, and say a word about each."}]
    first = foreign.chat(messages, max_tokens=24)
    messages += [{"role": "assistant", "content": "No."}, {"role": "user", "content": "Why?"}]
    other = foreign.chat(messages, max_tokens=24)
    assert cached_of(other) < first["usage"]["prompt_tokens"]
    assert text_of(other) == text_of(foreign.chat(messages, max_tokens=24))


def test_nothing_is_kept_beyond_a_change_of_model(daemon: Daemon, foreign: Foreign) -> None:
    messages = [{"role": "user", "content": "Name ten animals that live in the air, and say a word about each."}]
    first = foreign.chat(messages, max_tokens=24)
    daemon.finished(pid_of(first))
    daemon.client.use_model(daemon.client.status().model)
    assert daemon.client.status().kv_bytes == 0
    messages += [{"role": "assistant", "content": text_of(first)}, {"role": "user", "content": "And on land?"}]
    assert cached_of(foreign.chat(messages, max_tokens=2)) == 0


def cached_of(reply: dict[str, Any]) -> int:
    return int(reply["usage"]["prompt_tokens_details"]["cached_tokens"])


def test_parameters_reach_the_model(foreign: Foreign) -> None:
    draws = {seed: text_of(foreign.chat(STORY, temperature=1.0, seed=seed)) for seed in (1, 2, 3)}
    assert len(set(draws.values())) > 1
    assert draws[2] == text_of(foreign.chat(STORY, temperature=1.0, seed=2))
    stopped = foreign.chat("Count: 1, 2, 3, 4,", stop=["5", ","], max_tokens=30)
    assert stopped["choices"][0]["finish_reason"] == "stop"
    assert "," not in text_of(stopped)


def test_models_go_by_reference_name_or_default(daemon: Daemon, foreign: Foreign) -> None:
    status, listed = foreign.call("GET", "/v1/models")
    assert (status, listed["object"]) == (200, "list")
    ref = daemon.client.status().model
    assert [model["id"] for model in listed["data"]] == [ref]
    assert foreign.call("GET", f"/v1/models/{ref}")[1]["id"] == ref
    assert foreign.call("GET", "/v1/models/gpt-4o")[0] == 404
    for model in (ref, "default", None):
        assert foreign.chat("hi", model=model, max_tokens=1)["model"] == ref
    status, error = foreign.refused(model="gpt-4o")
    assert (status, error["param"], error["code"]) == (404, "model", "model_not_found")


def test_tools_are_called_and_their_results_read(foreign: Foreign) -> None:
    question = [{"role": "user", "content": "What is 12 and 7 together?"}]
    reply = foreign.chat(question, tools=[ADD], tool_choice="required", max_tokens=60)
    (choice,) = reply["choices"]
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    assert set(json.loads(call["function"]["arguments"])) == {"a", "b"}
    result = {"role": "tool", "tool_call_id": call["id"], "content": "19"}
    after = foreign.chat([*question, choice["message"], result], tools=[ADD], max_tokens=4)
    assert cached_of(after) >= reply["usage"]["prompt_tokens"]
    chunks = list(foreign.stream(question, tools=[ADD], tool_choice="required", max_tokens=60))
    (delta,) = [chunk["choices"][0]["delta"] for chunk in chunks if "tool_calls" in chunk["choices"][0]["delta"]]
    assert delta["tool_calls"][0]["function"] == call["function"]


def test_json_is_what_was_asked_for(foreign: Foreign) -> None:
    schema = {"type": "object", "properties": {"name": {"enum": ["Ann", "Bob"]}}, "required": ["name"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    assert json.loads(text_of(foreign.chat("A person?", response_format=wanted, max_tokens=40)))["name"] in (
        "Ann",
        "Bob",
    )
    status, error = foreign.refused(response_format=wanted, tools=[ADD])
    assert (status, error["param"]) == (400, "response_format")


def test_nothing_of_the_persons_is_there(daemon: Daemon, foreign: Foreign) -> None:
    schema = daemon.client.call("GET", "/openapi.json", dict)
    for path, methods in schema["paths"].items():
        for method in methods:
            status, body = foreign.call(method.upper(), path.replace("{pid}", "1"))
            assert (status, set(body["error"])) == (404, {"message", "type", "param", "code"}), path
    for path in ("/openapi.json", "/docs", "/redoc", "/v1", "/"):
        assert foreign.call("GET", path)[0] == 404
    assert foreign.call("GET", "/v1/chat/completions")[0] == 405
    assert foreign.call("GET", "/health") == (200, {"status": "ok"})


def test_a_key_is_needed_and_is_for_this_alone(daemon: Daemon, foreign: Foreign) -> None:
    token = daemon.probe().as_agent._headers["Authorization"]
    for headers in ({"Authorization": ""}, {"Authorization": "Bearer sk-no"}, {"Authorization": token}):
        for method, path in (("GET", "/v1/models"), ("POST", "/v1/chat/completions")):
            status, body = foreign.call(method, path, ask("hi"), **headers)
            assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    with pytest.raises(NotPermitted):
        KernelClient(daemon.client.socket_path, foreign.key).procs()
    denied = {row.action for row in AccessClient(daemon.client).audit() if row.outcome == "deny"}
    assert {"GET /v1/models (TCP)", "POST /v1/chat/completions (TCP)", "GET /procs"} <= denied


def test_processes_are_of_their_keys_group(daemon: Daemon, foreign: Foreign) -> None:
    guests = Foreign("http://" + foreign.host, daemon.client.key("guest").key)
    assert daemon.finished(pid_of(guests.chat("hi", max_tokens=1))).group == "guest"


def test_a_replaced_key_opens_nothing_more_and_ends_nothing(
    daemon: Daemon, foreign: Foreign, running: Callable[..., tuple[int, Iterator[dict[str, Any]]]]
) -> None:
    _, chunks = running(max_tokens=40)
    new = daemon.client.key("user", new=True).key
    assert new == daemon.client.key("user").key != foreign.key
    assert foreign.refused()[0] == 401
    assert joined(chunks)
    foreign.key = new
    foreign.chat("hi", max_tokens=1)


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_refused_has_a_status_and_the_name_of_what_is_wrong(foreign: Foreign, stream: bool) -> None:
    too_long = "word " * 6_000
    status, error = foreign.refused(too_long, stream=stream)
    assert (status, error["code"]) == (400, "context_length_exceeded")
    assert "maximum context length is 4096 tokens" in error["message"]
    status, error = foreign.refused(temperature=9, stream=stream)
    assert (status, error["type"], error["param"]) == (400, "invalid_request_error", "temperature")
    schema = {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    status, error = foreign.refused(response_format=wanted, stream=stream)
    assert (status, error["type"]) == (400, "invalid_request_error")


def test_a_body_may_be_wrong_or_large_and_the_next_request_is_answered(foreign: Foreign) -> None:
    for body in (b"", b"nonsense", b"\xff\xfe", b"[]", b"[" * 99_999):
        status, reply = foreign.call("POST", "/v1/chat/completions", body)
        assert (status, reply["error"]["type"]) == (400, "invalid_request_error")
    status, reply = foreign.call("POST", "/v1/chat/completions", b" " * (17 << 20))
    assert (status, reply["error"]["type"]) == (413, "invalid_request_error")
    foreign.chat("hi", max_tokens=1)


def test_a_killed_one_ends_with_an_error(
    daemon: Daemon, running: Callable[..., tuple[int, Iterator[dict[str, Any]]]]
) -> None:
    pid, chunks = running()
    daemon.client.signal(pid, Signal.KILL)
    last = list(chunks)[-1]
    assert (last["error"]["message"], last["error"]["code"]) == (f"process {pid} was killed by SIGKILL", "ECANCELED")
    info = daemon.finished(pid)
    assert (info.exit_code, info.reason) == (137, "killed by SIGKILL")
    assert info.tokens_out > 0
    assert pid not in [entry.pid for entry in daemon.client.queue()]


def test_one_killed_before_its_answer_gets_a_status(daemon: Daemon, foreign: Foreign) -> None:
    with ThreadPoolExecutor() as threads:
        asking = threads.submit(foreign.refused, STORY, max_tokens=LONG)
        pid = next_generation(daemon)
        daemon.client.signal(pid, Signal.TERM)
        status, error = asking.result(30)
    assert (status, error["type"]) == (499, "cancelled_error")
    assert daemon.finished(pid).exit_code == 143


def test_a_suspended_one_says_the_same_later(
    daemon: Daemon, foreign: Foreign, running: Callable[..., tuple[int, Iterator[dict[str, Any]]]]
) -> None:
    alone = text_of(foreign.chat(STORY, max_tokens=60))
    pid, chunks = running(max_tokens=60)
    stopped = daemon.client.signal(pid, Signal.STOP)
    assert (stopped.state, stopped.slot, stopped.tier) == (ProcState.SUSPENDED, None, Tier.RAM)
    assert daemon.client.nice(pid, 7).nice == 7
    daemon.client.signal(pid, Signal.CONT)
    assert alone.endswith(joined(chunks))
    assert (daemon.finished(pid).exit_code, daemon.finished(pid).nice) == (0, 7)


def test_a_client_that_goes_away_ends_its_process(
    daemon: Daemon, foreign: Foreign, running: Callable[..., tuple[int, Iterator[dict[str, Any]]]]
) -> None:
    pid, chunks = running()
    chunks.close()  # type: ignore[attr-defined]
    info = daemon.finished(pid)
    assert (info.exit_code, info.reason) == (1, "its client went away")
    host, _, port = foreign.host.partition(":")
    body = json.dumps(ask(STORY, max_tokens=LONG)).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: k\r\nAuthorization: Bearer {foreign.key}\r\n"
    with socket.create_connection((host, int(port)), 20) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        pid = next_generation(daemon)
    assert daemon.finished(pid).exit_code == 1
    assert not daemon.client.queue()


def next_generation(daemon: Daemon) -> int:
    """Pid of the one process that generates, once it does; nothing tells of it but the queue."""
    deadline = time.monotonic() + 20
    while not (queue := daemon.client.queue()):
        assert time.monotonic() < deadline
    return queue[0].pid


def test_clients_at_once_are_served_together(foreign: Foreign) -> None:
    both = threading.Barrier(2, timeout=30)

    def read(said: str) -> str:
        chunks = foreign.stream(said, max_tokens=30)
        first = next(chunks)
        both.wait()  # each has its first text while the other has more to come
        return str(first["choices"][0]["delta"]["content"]) + joined(chunks)

    alone = [text_of(foreign.chat(said, max_tokens=30)) for said in (STORY, "Say hello.")]
    with ThreadPoolExecutor() as threads:
        assert alone == list(threads.map(read, (STORY, "Say hello.")))


def test_the_end_of_the_kernel_is_told_and_a_new_one_answers_while_its_model_loads(
    daemon: Daemon, running: Callable[..., tuple[int, Iterator[dict[str, Any]]]]
) -> None:
    pid, chunks = running()
    launch.stop()
    last = list(chunks)[-1]
    assert (last["error"]["code"], last["error"]["type"]) == ("ESHUTDOWN", "server_error")
    again = Daemon(launch.connect(pytest.fail), paths())
    info = again.client.key("user")
    assert info.url is not None
    foreign = Foreign(info.url, info.key)
    with ThreadPoolExecutor() as threads:
        asking = threads.submit(foreign.chat, "hi", max_tokens=2)
        health = foreign.call("GET", "/health")
        assert health in [(503, {"status": "loading"}), (200, {"status": "ok"})]
        assert text_of(asking.result(60))
    assert again.client.proc(pid).exit_code == 143
