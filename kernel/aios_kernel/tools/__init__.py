"""The tool manager: a registry of tools, their arguments checked against JSON Schema, each run within bounds."""

from aios_kernel.tools.builtin import builtin_tools
from aios_kernel.tools.registry import ToolRegistry
from aios_kernel.tools.tool import Caller, Tool

__all__ = ["Caller", "Tool", "ToolRegistry", "builtin_tools"]
