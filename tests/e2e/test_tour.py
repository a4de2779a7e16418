"""docs/tour.aios: the six mechanisms, as a person types them."""

from __future__ import annotations

from pathlib import Path

import pytest
from system import System

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

TOUR = Path(__file__).parents[2] / "docs" / "tour.aios"


@pytest.fixture(scope="module", autouse=True)
def unconfigured(system: System) -> None:
    """As it is after it was installed."""
    system.configure("")


def test_the_tour_shows_every_mechanism(system: System, tmp_path: Path) -> None:
    shown = system.ok("-f", str(TOUR), cwd=tmp_path)
    for expected in (
        "policy    rr",
        "train    3  narrate",
        "that reminds me: The fox in the harbour was painted by Ana.",
        "Ana sails on Monday.",
        "84\n12 * 7 = 84",
        "delete diary.md (to the bin)",
        "a person said yes",
        "nothing altered, nothing missing",
    ):
        assert expected in shown, f"{expected!r} is missing in:\n{shown}"
    assert system.ok("logs", "9", "--output") == "diary.md is in the bin\n"
    assert (tmp_path / "restored.txt").stat().st_size > 0
