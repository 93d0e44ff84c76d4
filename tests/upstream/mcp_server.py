"""A small MCP server over stdio, as users write them; tests start it as a process."""

from __future__ import annotations

from typing import Any

import mcp.types as types
from mcp.server.fastmcp import FastMCP
from pydantic import BaseModel

# It is not installed where types are checked.
server: Any = FastMCP("trips", log_level="WARNING")


class Place(BaseModel):
    """A place."""

    name: str
    inside: Place | None = None


class Trip(BaseModel):
    """A trip."""

    stops: list[Place]
    days: int


def plan(trip: Trip, brief: bool = False) -> str:
    """Plan a trip."""
    names = [
        f"{stop.name}, {stop.inside.name}" if stop.inside else stop.name for stop in trip.stops
    ]
    return f"{trip.days} days: {'; '.join(names)}{'.' if brief else '. Have fun!'}"


def nights(count: int, guests: int | None = None) -> str:
    """Count nights."""
    return f"{count!r} nights for {guests!r}"


def fail() -> str:
    """Fail."""
    raise ValueError("the server's own words")


for function in (plan, nights, fail):
    server.add_tool(function)

# FastMCP writes a schema for every tool; others' servers have tools without one.
_listed, _called = server.list_tools, server.call_tool


async def list_tools() -> list[Any]:
    bare = types.Tool(name="now", description="Say what time it is.", inputSchema={})
    return [*await _listed(), bare]


async def call_tool(name: str, arguments: dict[str, Any]) -> Any:
    if name == "now":
        return [types.TextContent(type="text", text=f"It is noon. {arguments}")]
    return await _called(name, arguments)


server._mcp_server.list_tools()(list_tools)
server._mcp_server.call_tool(validate_input=False)(call_tool)

if __name__ == "__main__":
    server.run("stdio")
