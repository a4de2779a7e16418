"""Runs one function in a process of its own, or tells what functions there are.

    python -I worker.py < order.json > answer.json

An order is {"call": FUNCTION, "arguments": {…}}, answered with {"result": …}; or {"describe": {NAME: FUNCTION, …}},
with {"result": {NAME: {"description", "parameters"} or {"error"}, …}}. FUNCTION is "module:name" as in an entry
point, or "/path/to/file.py:name". What goes wrong is {"error": "one line"}. What a function prints goes to stderr.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import json
import os
import sys
from operator import attrgetter
from pathlib import Path
from typing import Any


def load(where: str) -> Any:
    """The object that "module:name" names. Raises whatever its import raises."""
    module, _, name = where.rpartition(":")
    if not module.endswith(".py"):
        return attrgetter(name)(importlib.import_module(module))
    spec = importlib.util.spec_from_file_location(Path(module).stem, module)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return attrgetter(name)(loaded)


def call(where: str, arguments: dict[str, Any]) -> Any:
    result = load(where)(**arguments)
    return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result


async def _awaited(value: Any) -> Any:
    return await value


def describe(where: str) -> dict[str, Any]:
    """What `@tool` of aios_agents has made of a function, or any object with the same `spec`."""
    try:
        spec = getattr(load(where), "spec", None)
        if spec is None:
            return {"error": "it is not marked with @tool of aios_agents"}
        return {"description": str(spec.description), "parameters": spec.parameters}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Entry point."""
    order = json.load(sys.stdin)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        try:
            if "call" in order:
                answer = {"result": call(order["call"], order["arguments"])}
            else:
                answer = {"result": {name: describe(where) for name, where in order["describe"].items()}}
            text = json.dumps(answer, default=str)
        except Exception as error:
            text = json.dumps({"error": f"{type(error).__name__}: {error}" if str(error) else type(error).__name__})
        out.write(text)


if __name__ == "__main__":
    main()
