from __future__ import annotations

import json

import pytest

from aios_kernel import errors
from aios_kernel.errors import WIRE, KernelError, from_wire, row_of, to_wire


def on_the_wire() -> set[type[KernelError]]:
    """Every error of the kernel's own; a client may refine one for itself."""
    return {cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, KernelError)} - {
        KernelError
    }


def test_every_error_has_a_row_and_every_errno_is_its_own() -> None:
    assert on_the_wire() == set(WIRE)
    assert len(WIRE) == len({row.errno for row in WIRE.values()})


@pytest.mark.parametrize("kind", WIRE, ids=lambda kind: kind.__name__)
def test_an_error_crosses_the_socket_and_comes_back_equal(kind: type[KernelError]) -> None:
    error = kind("what went wrong", pid=7, accepted=["a", "b"])
    assert error == from_wire(json.loads(json.dumps(to_wire(error))))
    assert row_of(error) is WIRE[kind]


def test_what_is_not_known_is_an_internal_error() -> None:
    assert errors.InternalError("?") == from_wire({"errno": "EWHAT", "message": "?"})
    assert row_of(ValueError()) is WIRE[errors.InternalError]
