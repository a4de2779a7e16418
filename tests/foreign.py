"""A program that knows OpenAI's API and nothing of this kernel."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from typing import Any

TIMEOUT_S = 60


class Foreign:
    """A client of one base URL (without /v1). Each call has a connection of its own."""

    def __init__(self, url: str, key: str) -> None:
        self.host = url.removeprefix("http://")
        self.key = key

    @contextlib.contextmanager
    def open(self, method: str, path: str, body: Any = None, **headers: str) -> Iterator[http.client.HTTPResponse]:
        """The reply as it comes; leaving the block closes the connection."""
        connection = http.client.HTTPConnection(self.host, timeout=TIMEOUT_S)
        headers = {"Authorization": f"Bearer {self.key}", **headers}
        payload = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, path, payload, headers)
            with connection.getresponse() as response:
                yield response
        finally:
            connection.close()

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and JSON body."""
        with self.open(method, path, body, **headers) as response:
            return response.status, json.load(response)

    def chat(self, said: str | list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
        """A completion, which must succeed."""
        status, reply = self.call("POST", "/v1/chat/completions", ask(said, **fields))
        assert status == 200, reply
        assert isinstance(reply, dict)
        return reply

    def refused(self, said: str | list[dict[str, Any]] = "hi", **fields: Any) -> tuple[int, dict[str, Any]]:
        """Status and error of a completion that must fail."""
        status, reply = self.call("POST", "/v1/chat/completions", ask(said, **fields))
        assert set(reply) == {"error"}, reply
        assert set(reply["error"]) == {"message", "type", "param", "code"}
        return status, reply["error"]

    def stream(self, said: str | list[dict[str, Any]], **fields: Any) -> Iterator[dict[str, Any]]:
        """The chunks of a completion, which must end with [DONE] or an error; closing it closes the connection."""
        with self.open("POST", "/v1/chat/completions", ask(said, stream=True, **fields)) as response:
            assert response.status == 200, response.read()
            assert response.headers["Content-Type"].startswith("text/event-stream")
            for line in response:
                if not line.startswith(b"data: "):
                    assert line.strip() == b"" or line.startswith(b":")
                    continue
                if line == b"data: [DONE]\n":
                    assert not response.read().strip()
                    return
                chunk = json.loads(line[6:])
                yield chunk
                if "error" in chunk:
                    assert not response.read().strip()
                    return
            raise AssertionError("the stream ended without [DONE]")


def ask(said: str | list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": said}] if isinstance(said, str) else said
    return {"model": "default", "messages": messages, "max_tokens": 8, **fields}


def pid_of(reply: dict[str, Any]) -> int:
    """The process that a completion or a chunk is of."""
    return int(reply["id"].removeprefix("chatcmpl-"))


def text_of(reply: dict[str, Any]) -> str:
    """What a completion says."""
    return str(reply["choices"][0]["message"]["content"])


def joined(chunks: Iterator[dict[str, Any]]) -> str:
    """What a stream's chunks, up to its end, say together."""
    return "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])
