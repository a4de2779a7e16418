"""HOST:PORT and what is none."""

from __future__ import annotations

import pytest

from aios_kernel.client.address import Address, parse_address
from aios_kernel.errors import BadRequest


@pytest.mark.parametrize(
    ("text", "address", "loopback"),
    [
        ("127.0.0.1:8377", Address("127.0.0.1", 8377), True),
        ("localhost:0", Address("localhost", 0), True),
        ("[::1]:80", Address("::1", 80), True),
        ("0.0.0.0:65535", Address("0.0.0.0", 65535), False),
        ("[::]:1", Address("::", 1), False),
        ("192.168.1.5:8000", Address("192.168.1.5", 8000), False),
        ("box.example:8000", Address("box.example", 8000), False),
    ],
)
def test_an_address_is_read_and_written_again(text: str, address: Address, loopback: bool) -> None:
    assert address == parse_address(text)
    assert text == str(address)
    assert address == parse_address(address.url)
    assert loopback == address.is_loopback


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8377",
        ":8377",
        "localhost",
        "localhost:",
        "localhost:x",
        "localhost:65536",
        "localhost:-1",
        "::1:80",
        "[::1]",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match=r"must be HOST:PORT, for instance 127\.0\.0\.1:8377") as caught:
        parse_address(text)
    assert caught.value.data == {"key": "listen"}
