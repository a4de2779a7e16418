from __future__ import annotations

import pytest
from bench.loopback import SLOTS, serving

from aios_kernel.errors import BadRequest
from aios_shell.bench.peer import PeerUnusable, choose, look, warm
from aios_shell.bench.replay import Endpoint


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/"])
def test_a_server_is_looked_at_with_or_without_v1(tail: str) -> None:
    with serving() as script:
        found = look(script.url + tail)
    assert ("/models/tiny.gguf", f"{script.url}/v1", SLOTS) == (found.model, found.url, found.slots)
    assert "aiohttp" in found.name


def test_a_server_that_does_not_tell_its_slots_is_fine() -> None:
    with serving(props=False) as script:
        assert look(script.url).slots is None


def test_the_key_is_the_one_of_openai_s_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k1")
    with serving() as script:
        warm(look(script.url))
        assert script.keys == ["Bearer k1"]


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x/", "http://"])
def test_what_is_no_url_is_a_bad_request(url: str) -> None:
    with pytest.raises(BadRequest, match="must be a URL"):
        look(url)


def test_nobody_there_is_one_line() -> None:
    with serving() as script:
        pass
    with pytest.raises(PeerUnusable, match=r"no server of OpenAI chat completions at http://127"):
        look(script.url)


def test_a_server_that_cannot_chat_is_found_out_before_a_benchmark() -> None:
    with serving() as script:
        script.errors["hello"] = 503
        with pytest.raises(PeerUnusable, match="cannot chat: HTTP 503"):
            warm(look(script.url))


def test_the_peer_with_the_wanted_slots_is_chosen_else_the_first() -> None:
    eight, four = (Endpoint(str(n), "http://x/v1", "m", n) for n in (8, 4))
    assert four == choose([eight, four], 4)
    assert eight == choose([eight, four], 16)
    assert choose([], 4) is None
