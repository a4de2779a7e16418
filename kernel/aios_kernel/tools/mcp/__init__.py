"""Tools of MCP servers (Model Context Protocol): one connection a server, made when a tool of its is first wanted.

The `mcp` package is imported with the first connection: it takes a second.
"""
