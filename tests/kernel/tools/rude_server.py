"""An MCP server with bad manners, for tests: its first argument is a folder to leave notes in, then how it behaves.

python rude_server.py FOLDER [BEHAVIOUR...]
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

FOLDER, HOW = Path(sys.argv[1]), set(sys.argv[2:])
READS = {"readOnlyHint": True, "openWorldHint": False}


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "description": f"does {name}", "inputSchema": {"type": "object"}, **more}


def tools() -> list[dict[str, Any]]:
    found = [tool("echo", annotations=READS), tool("write"), tool("hang"), tool("flood"), tool("shout"), tool("crash")]
    found += [tool("image"), tool("fail"), tool("die_once", annotations=READS), tool("structured"), tool("change")]
    if "odd-names" in HOW:
        found += [tool("../x"), tool("a b"), tool("")]
    if "many" in HOW:
        found += [tool(f"t{n}") for n in range(1_000)]
    if (FOLDER / "changed").exists():
        found.append(tool("new"))
    return found


def text(value: object) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": str(value)}]}


def misbehave(name: str) -> None:
    if name == "hang":
        time.sleep(60)
    if name == "flood":
        sys.stdout.write("x" * (6 << 20))
        sys.stdout.flush()
    if name == "shout":
        for _ in range(20_000):
            send({"method": "notifications/message", "params": {"level": "info", "data": "hey"}})
    if name == "crash":
        print("it broke", file=sys.stderr, flush=True)
        os._exit(3)
    if name == "die_once" and not (FOLDER / "died").exists():
        (FOLDER / "died").touch()
        os._exit(0)


def call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    misbehave(name)
    if name == "image":
        return {"content": [{"type": "image", "data": "AAAA", "mimeType": "image/png"}]}
    if name == "fail":
        return {**text("no such file"), "isError": True}
    if name == "structured":
        return {"content": [], "structuredContent": {"a": 1}}
    if name == "change":
        (FOLDER / "changed").touch()
        send({"method": "notifications/tools/list_changed"})
    return text(arguments.get("value", "done"))


def answer(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": {"name": "rude", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": tools()}
    if method == "tools/call":
        return call(params["name"], params.get("arguments") or {})
    return None


def main() -> None:
    with (FOLDER / "pids").open("a") as file:
        file.write(f"{os.getpid()}\n")
    if "dead" in HOW:
        sys.exit("no such database")
    if "mute" in HOW:
        time.sleep(60)
    if "stubborn" in HOW:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "noisy" in HOW:
        print("this is no message", flush=True)
        for n in range(1_000):
            print(f"line {n} \x1b[31m", file=sys.stderr, flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        result = answer(message["method"], message.get("params") or {})
        if result is None:
            send({"id": message["id"], "error": {"code": -32601, "message": "no such method"}})
        else:
            send({"id": message["id"], "result": result})
    while "stubborn" in HOW:
        time.sleep(1)


main()
