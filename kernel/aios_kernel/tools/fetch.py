"""The tool http_fetch: a page of the public web as text. Off unless the configuration says otherwise."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Final
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from aios_kernel.access.need import Kind, Need
from aios_kernel.errors import ToolFailed
from aios_kernel.protocol import Category, ToolSpec
from aios_kernel.tools.tool import Arguments, Caller, Tool, short
from aios_kernel.tools.workers import Workers, own

SPEC: Final = ToolSpec(
    "http_fetch",
    "Fetch a page of the public web by GET and return its text.",
    {
        "type": "object",
        "properties": {"url": {"type": "string", "description": "https://…", "maxLength": 2_000}},
        "required": ["url"],
        "additionalProperties": False,
    },
)

MAX_BODY_BYTES: Final = 2 << 20
MAX_CHARS: Final = 100_000  # of the text that a model gets
MAX_REDIRECTS: Final = 5
TIMEOUT_S: Final = 30.0
# So that what is read is what was sent, and its bound holds.
HEADERS: Final = {"Accept-Encoding": "identity", "User-Agent": "aios-shell"}

# IPv6 networks whose addresses are IPv4 ones: RFC 4291 section 2.5.5.1, RFC 6052.
_EMBEDDING: Final = (ipaddress.IPv6Network("::/96"), ipaddress.IPv6Network("64:ff9b::/96"))

Reachable = Callable[[str], bool]  # of an IP address


def fetch_tool(workers: Workers, reachable: Reachable | None = None) -> Tool:
    """reachable: which addresses may be connected to; by default those of the public internet."""
    run = partial(_run, workers, reachable or is_public)
    return Tool(
        SPEC,
        run,
        Category.NETWORK,
        timeout_s=TIMEOUT_S,
        idempotent=True,
        max_output_bytes=8 * MAX_CHARS,
        asks=True,
        trusted=True,
    )


def is_public(address: str) -> bool:
    """Not this machine, its networks, nor what a cloud tells its machines: https://www.iana.org/assignments/iana-ipv4-special-registry."""
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        within = ipaddress.IPv4Address(ip.packed[-4:]) if any(ip in net for net in _EMBEDDING) else None
        ip = ip.ipv4_mapped or ip.sixtofour or within or ip
    return ip.is_global and not ip.is_multicast


class _Resolver(AbstractResolver):
    """Finds only addresses that may be reached; asked at the connection, so that a name cannot change in between."""

    def __init__(self, reachable: Reachable) -> None:
        self._inner = ThreadedResolver()
        self._reachable = reachable

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = [each for each in await self._inner.resolve(host, port, family) if self._reachable(each["host"])]
        if not found:
            raise OSError(errno.EACCES, f"{host} is not on the public internet")
        return found

    async def close(self) -> None:
        await self._inner.close()


async def _run(workers: Workers, reachable: Reachable, arguments: Arguments, caller: Caller) -> dict[str, Any]:
    url = arguments["url"]
    allowed: set[str] = set()
    connector = aiohttp.TCPConnector(resolver=_Resolver(reachable), use_dns_cache=False)
    async with aiohttp.ClientSession(connector=connector, headers=HEADERS, cookie_jar=aiohttp.DummyCookieJar()) as http:
        for _ in range(MAX_REDIRECTS + 1):
            host = await _permitted(url, reachable, allowed, caller)
            allowed.add(host)
            try:
                async with http.get(url, allow_redirects=False) as reply:
                    if reply.status in (301, 302, 303, 307, 308) and (target := reply.headers.get("Location")):
                        url = urljoin(url, target)
                        continue
                    return {"url": url, "status": reply.status, "text": await _text(workers, reply)}
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise ToolFailed(f"http_fetch: {host}: {short(str(error)) or type(error).__name__}") from error
    raise ToolFailed(f"http_fetch: {arguments['url']}: redirected more than {MAX_REDIRECTS} times")


async def _permitted(url: str, reachable: Reachable, allowed: set[str], caller: Caller) -> str:
    """host:port of the URL, once it has been decided that it may be connected to. Raises ToolFailed, NotPermitted."""
    try:
        parts = URL(url)  # as the connection reads it: "①②⑦.0.0.1" is 127.0.0.1 to it
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        host = parts.raw_host or ""
    except (KeyError, ValueError) as error:
        raise ToolFailed(f"http_fetch: {short(url, 100)}: must be an http or https URL") from error
    if not host or parts.raw_user is not None or parts.scheme not in ("http", "https"):
        raise ToolFailed(f"http_fetch: {short(url, 100)}: must name a host, and no user")
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        pass  # a name: looked up, and then judged, when it is connected to
    else:
        if not reachable(str(literal)):
            raise ToolFailed(f"http_fetch: {host} is not on the public internet")
    where = f"{host}:{port}"
    if where not in allowed:
        what = f"fetch {short(url, 140)}"
        detail = "" if what.endswith(url) else url
        await caller.require(Need("connect", Kind.NETWORK, where, what=what, irreversible=True, detail=detail))
    return where


async def _text(workers: Workers, reply: aiohttp.ClientResponse) -> str:
    body = bytearray()
    async for block in reply.content.iter_chunked(64 << 10):
        body += block
        if len(body) >= MAX_BODY_BYTES:
            break
    kind = reply.content_type
    if not (kind.startswith("text/") or kind.endswith(("json", "xml"))):
        return f"[{len(body)} bytes of {kind}]"
    try:
        text = bytes(body[:MAX_BODY_BYTES]).decode(reply.charset or "utf-8", errors="replace")
    except LookupError:  # a character set that Python does not know
        text = body.decode(errors="replace")
    if kind == "text/html":
        text = await workers.call(own("page"), {"html": text})
    left = len(text) - MAX_CHARS
    return text if left <= 0 else f"{text[:MAX_CHARS]}\n[{left} characters are left out]"
