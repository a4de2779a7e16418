"""The tool manager: a registry of tools, their arguments checked against JSON Schema, each run under a timeout."""

from aios_kernel.tools.registry import Tool, ToolRegistry, builtin_tools

__all__ = ["Tool", "ToolRegistry", "builtin_tools"]
