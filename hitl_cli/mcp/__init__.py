"""An MCP server: agents ask people through tools, and none of the tools decides."""
