"""How the common MCP clients are told of a server: for each the file or command, and what to put there."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from slowwave.errors import InputError


@dataclass(frozen=True, slots=True)
class Client:
    """One client.

    where  the file to put it into, or "" where a command does it
    shape  how it writes a server down
    """

    name: str
    title: str
    where: str
    shape: Literal["mcpServers", "servers", "command", "toml", "context_servers", "mcp", "goose"]


CLIENTS: tuple[Client, ...] = (
    Client("claude-desktop", "Claude Desktop", "claude_desktop_config.json (Settings, Developer, Edit Config)",
           "mcpServers"),
    Client("claude-code", "Claude Code", "", "command"),
    Client("cursor", "Cursor", "~/.cursor/mcp.json, or .cursor/mcp.json in a project", "mcpServers"),
    Client("vscode", "VS Code", ".vscode/mcp.json in a project", "servers"),
    Client("codex", "Codex", "~/.codex/config.toml", "toml"),
    Client("windsurf", "Windsurf", "~/.codeium/windsurf/mcp_config.json", "mcpServers"),
    Client("gemini-cli", "Gemini CLI", "~/.gemini/settings.json", "mcpServers"),
    Client("zed", "Zed", "~/.config/zed/settings.json", "context_servers"),
    Client("opencode", "opencode", "opencode.json", "mcp"),
)  # fmt: skip


def client_named(name: str) -> Client:
    """The client of this name."""
    found = next((client for client in CLIENTS if client.name == name), None)
    if found is None:
        raise InputError(f"there is no client {name!r:.60}; there are {', '.join(client.name for client in CLIENTS)}")
    return found


def configuration(client: Client, command: Sequence[str], url: str = "", key: str = "") -> str:
    """What to put into the client's file, or the command to run.

    command  that serves over stdio, as words
    url      of a running server instead
    key      the name of the environment variable that holds the key for it; never the key itself
    """
    if client.shape == "command":
        if url:
            header = f' --header "Authorization: Bearer ${{{key}}}"' if key else ""
            return f"claude mcp add --transport http slowwave {shlex.quote(url)}{header}"
        return f"claude mcp add slowwave -- {shlex.join(command)}"
    if client.shape == "toml":
        if url:
            held = f"\nbearer_token_env_var = {json.dumps(key)}" if key else ""
            return f"[mcp_servers.slowwave]\nurl = {json.dumps(url)}{held}"
        return f"[mcp_servers.slowwave]\ncommand = {json.dumps(command[0])}\nargs = {json.dumps(list(command[1:]))}"
    return json.dumps({client.shape: {"slowwave": _server(client, command, url, key)}}, indent=2)


def _server(client: Client, command: Sequence[str], url: str, key: str) -> dict[str, Any]:
    held = f"${{env:{key}}}" if client.name in ("cursor", "vscode") else f"${{{key}}}"
    headers = {"headers": {"Authorization": f"Bearer {held}"}} if key else {}
    if url:
        address = "serverUrl" if client.name == "windsurf" else "httpUrl" if client.name == "gemini-cli" else "url"
        kind = {"vscode": {"type": "http"}, "opencode": {"type": "remote"}}.get(client.name, {})
        return {**kind, address: url, **headers}
    if client.shape == "mcp":
        return {"type": "local", "command": list(command)}
    kind = {"type": "stdio"} if client.shape == "servers" else {}
    return {**kind, "command": command[0], "args": list(command[1:])}
