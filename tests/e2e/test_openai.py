"""Foreign programs as a person lets them in, and sees and stops them, through the real command line."""

from __future__ import annotations

import re
import signal
import socket
import stat
from collections.abc import Iterator

import pytest
from foreign import Foreign, pid_of
from system import LIGHT, System


@pytest.fixture(autouse=True)
def stopped(system: System) -> Iterator[None]:
    """Each test starts its own kernel."""
    yield
    system.run("kernel", "stop")
    system.configure(LIGHT)


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield f"127.0.0.1:{other.getsockname()[1]}"


def url_of(system: System) -> str | None:
    url: str | None = system.json("kernel", "status")["url"]
    return url


def start(system: System, *words: str) -> str:
    """Start a kernel that listens; its URL."""
    system.ok("kernel", "start", "--listen", "127.0.0.1:0", *words)
    url = url_of(system)
    assert url is not None
    return url


def test_without_being_told_to_it_listens_nowhere(system: System) -> None:
    assert system.run("kernel", "start").stderr.endswith(")\n")
    assert url_of(system) is None
    assert system.json("kernel", "key")["url"] is None


def test_start_says_where_it_listens_and_restart_stays_there(system: System) -> None:
    done = system.run("kernel", "start", "--listen", "127.0.0.1:0")
    assert done.returncode == 0
    url = url_of(system)
    assert re.fullmatch(r"aios: the kernel runs \(pid \d+\) and listens on (http://127\.0\.0\.1:\d+)\n", done.stderr)
    assert done.stderr.endswith(f"{url}\n")
    system.ok("kernel", "start")  # it does
    system.ok("kernel", "start", "--listen", "127.0.0.1:0")  # so it does
    system.ok("kernel", "restart")
    assert url == url_of(system)
    system.ok("kernel", "restart", "--listen", "localhost:0")
    assert str(url_of(system)).startswith("http://localhost:")


def test_one_that_runs_is_not_moved_by_start(system: System) -> None:
    system.ok("kernel", "start")
    done = system.run("kernel", "start", "--listen", "127.0.0.1:0")
    assert done.returncode == 1
    assert re.fullmatch(
        r"aios: a kernel runs already \(pid \d+\) and listens nowhere: "
        r"`aios kernel restart --listen 127\.0\.0\.1:0`\n",
        done.stderr,
    )


def test_the_configuration_says_where_and_the_option_wins(system: System) -> None:
    system.configure(f'{LIGHT}[kernel]\nlisten = "localhost:0"\n')
    system.ok("ps")
    assert str(url_of(system)).startswith("http://localhost:")
    system.ok("kernel", "stop")
    assert start(system).startswith("http://127.0.0.1:")
    system.ok("kernel", "stop")
    system.configure('[sched]\n\n[kernel]\nlisten = "8377"\n')
    done = system.run("ps")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("config.toml:4: listen = '8377': must be HOST:PORT, for instance 127.0.0.1:8377\n")


@pytest.mark.parametrize("words", [(), ("--foreground",)], ids=["daemon", "foreground"])
def test_a_port_in_use_is_one_line_and_no_half_a_kernel(system: System, taken: str, words: tuple[str, ...]) -> None:
    done = system.run("kernel", "start", "--listen", taken, *words)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.endswith(f"cannot listen on {taken}: Address already in use\n")
    assert done.stderr.count("\n") == 1
    assert system.run("kernel", "status").returncode == 3
    left = {path.name for path in system.home.rglob("kernel.*")}
    assert left <= {"kernel.lock", "kernel.log"}
    system.ok("kernel", "start")  # nothing stands in the way


def test_what_is_no_address_is_a_usage_error_and_starts_nothing(system: System) -> None:
    for words in (("start",), ("restart",), ("start", "--foreground")):
        done = system.run("kernel", *words, "--listen", "nowhere")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "aios: listen = 'nowhere': must be HOST:PORT, for instance 127.0.0.1:8377\n"
    assert system.run("kernel", "status").returncode == 3


def test_who_lets_the_network_in_is_warned(system: System) -> None:
    done = system.run("kernel", "start", "--listen", "0.0.0.0:0")
    assert done.returncode == 0
    narration, warning = done.stderr.splitlines()
    assert "listens on http://0.0.0.0:" in narration
    assert warning.startswith("aios: warning: 0.0.0.0:")
    assert "plain HTTP" in warning
    assert "warning" not in system.run("kernel", "restart", "--listen", "127.0.0.1:0").stderr


def test_the_key_is_one_word_for_a_script_and_the_owners_alone(system: System) -> None:
    url = start(system)
    key = system.ok("kernel", "key").removesuffix("\n")
    assert re.fullmatch(r"sk-aios-[\w-]{43}", key)
    assert system.json("kernel", "key") == {"key": key, "group": "user", "url": url}
    guests = system.json("kernel", "key", "--group", "guest")
    assert guests["group"] == "guest"
    assert guests["key"] != key
    new = system.ok("kernel", "key", "--new").strip()
    assert new != key
    assert [Foreign(url, each).call("GET", "/v1/models")[0] for each in (key, new, guests["key"])] == [401, 200, 200]
    system.ok("kernel", "restart")
    assert Foreign(url, new).call("GET", "/v1/models")[0] == 200
    assert stat.S_IMODE((system.home / "state" / "keys.json").stat().st_mode) == 0o600
    done = system.run("kernel", "key", "--group", "a b")
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.model
def test_a_foreign_request_is_seen_and_stopped_like_any_process(system: System) -> None:
    client = Foreign(start(system), system.ok("kernel", "key").strip())
    chunks = client.stream("Tell me all about the sea.", max_tokens=2_000)
    pid = pid_of(next(chunks))
    row = system.ps(pid)
    assert (row["agent"], row["task"], row["state"]) == ("http", "Tell me all about the sea.", "running")
    system.ok("nice", "5", str(pid))
    system.ok("suspend", str(pid))
    row = system.ps(pid)
    assert (row["state"], row["nice"], row["slot"]) == ("suspended", 5, None)
    system.ok("resume", str(pid))
    assert next(chunks)["choices"]
    system.ok("kill", "-9", str(pid))
    last = list(chunks)[-1]
    assert last["error"]["message"] == f"process {pid} was killed by SIGKILL"
    assert system.run("wait", str(pid)).returncode == 128 + signal.SIGKILL
    assert system.ps(pid)["exit_code"] == 128 + signal.SIGKILL
