"""HOST:PORT, as it stands in `--listen` and in config.toml."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from aios_kernel.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen on TCP. port 0: any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self}"

    @property
    def is_loopback(self) -> bool:
        """Whether this machine alone can reach it. A name other than localhost counts as one that others can."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def parse_address(text: str) -> Address:
    """Raises BadRequest for what is not HOST:PORT; an IPv6 host stands in brackets."""
    host, colon, port = text.removeprefix("http://").rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    valid = colon and host and bracketed == (":" in host) and port.isascii() and port.isdigit() and int(port) <= 65_535
    if not valid:
        raise BadRequest(f"listen = {text!r}: must be HOST:PORT, for instance 127.0.0.1:8377", key="listen")
    return Address(host, int(port))
