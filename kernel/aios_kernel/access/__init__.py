"""The access manager: who may do what, decided by policies and people, and every decision written down first."""

from aios_kernel.access.need import ACTIONS, GROUPS, Kind, Need

__all__ = ["ACTIONS", "GROUPS", "Kind", "Need"]
