"""Commands of the server: serve it, make and revoke its keys."""

from __future__ import annotations

import argparse
import ipaddress
import os
import sys
from typing import Any

from slowwave.cli.arguments import Parser, UsageError, common, given, options, scope_args
from slowwave.cli.commands import Args, Done, command, opened, takes
from slowwave.cli.page import Page, day
from slowwave.errors import AccessError, ExtraMissingError
from slowwave.records import SCOPE_FIELDS


def need_server() -> None:
    """ExtraMissingError unless the packages of the server are there."""
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ExtraMissingError("slowwave serve", "server") from error


def port(text: str) -> int:
    """A port from 0 to 65535."""
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give a number from 0 to 65535")
    return int(text)


def fill_serve(parser: Parser) -> None:
    """Where to listen, and what the application takes."""
    takes()(parser)
    group = parser.add_argument_group("the server")
    group.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1); another one needs a key"
    )
    group.add_argument("--port", type=port, default=8765, metavar="PORT",
                       help="port to listen on (default: 8765); 0 takes any free one")  # fmt: skip
    group.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info",
                       help="a line of JSON a request from info on (default: info)")  # fmt: skip
    group.add_argument(
        "--workers", type=int, metavar="WORKERS", help="threads for what takes milliseconds (default: 4)"
    )
    group.add_argument("--read-only", action="store_true", help="nothing can be changed through the server")
    says = "endpoint to which /v1/chat/completions forwards, such as http://127.0.0.1:8080/v1 (SLOWWAVE_UPSTREAM_URL)"
    group.add_argument("--upstream", metavar="URL", help=f"{says}; its key is SLOWWAVE_UPSTREAM_API_KEY")
    group.add_argument("--jobs", choices=("here", "workers"), default="here",
                       help="who does long work: this process, or the slowwave worker processes of a memory in "
                       "PostgreSQL (default: here)")  # fmt: skip
    group.add_argument("--max-body-bytes", type=int, metavar="BYTES", help="of a request (default: 4000000)")


@command("serve the memory: REST, MCP, a page", "slowwave serve --db team.db", fill_serve)
def serve(args: Args) -> Done:
    need_server()
    import uvicorn

    from slowwave.serve import create_app
    from slowwave.serve.proxy import Upstream
    from slowwave.serve.telemetry import log_to_stderr

    chosen = {name: getattr(args, name) for name in ("workers", "max_body_bytes") if hasattr(args, name)}
    if url := getattr(args, "upstream", None) or os.environ.get("SLOWWAVE_UPSTREAM_URL"):
        chosen["upstream"] = Upstream(url, os.environ.get("SLOWWAVE_UPSTREAM_API_KEY", ""))
    readonly = bool(getattr(args, "read_only", False))
    with opened(args, create=not (readonly or getattr(args, "readonly", False))) as memory:
        if args.jobs == "workers":
            from slowwave.serve.postgres_jobs import PostgresJobs

            chosen["jobs"] = PostgresJobs(memory)
        app = create_app(memory, readonly=readonly, **chosen)
        if not is_loopback(args.host) and not app.state.service.keys.exist:
            raise AccessError(
                f"asked to listen on {args.host}, where others can reach it, and there is no key yet; make one with "
                "slowwave keys add, or listen on 127.0.0.1"
            )
        log_to_stderr(args.log_level)
        config = uvicorn.Config(
            app, host=args.host, port=args.port, log_level="warning", access_log=False, server_header=False,
            proxy_headers=False, timeout_graceful_shutdown=30,
        )  # fmt: skip
        server = _Told(config, f"serving {memory.path}")
        server.run()
    return Done({}, lambda page: None, told=True)


def _Told(config: Any, what: str) -> Any:
    import uvicorn

    class Server(uvicorn.Server):
        """Says where it listens once it does."""

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started:
                port = self.servers[0].sockets[0].getsockname()[1]
                host = f"[{config.host}]" if ":" in config.host else config.host
                print(f"slowwave: {what} on http://{host}:{port}", file=sys.stderr, flush=True)

    return Server(config)


def is_loopback(host: str) -> bool:
    """Whether this machine alone reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def fill_keys(parser: Parser) -> None:
    """The action, and what a new key may do."""
    from slowwave.serve.access import EVERYDAY, GROUPS

    parser.add_argument("action", choices=("add", "list", "revoke"), help="make one, show all, or revoke one")
    parser.add_argument("key", nargs="?", metavar="ID", help="with revoke: the key's id")
    common(parser)
    group = parser.add_argument_group("a new key")
    group.add_argument("--name", help="what it is for")
    group.add_argument(
        "--everyone", action="store_true", help="it reaches every scope, instead of the one that is named"
    )
    group.add_argument(
        "--verbs",
        metavar="A,B,...",
        help=f"what it may do: verbs, or {', '.join(GROUPS)}, all (default: {','.join(EVERYDAY)})",
    )
    group.add_argument("--expires", metavar="TIME", help="when it ends by itself")
    for name in ("requests_per_minute", "requests_per_day", "records_per_day"):
        group.add_argument(
            "--" + name.replace("_", "-"), type=int, metavar="N", help=f"at most so many {name.replace('_', ' ')}"
        )
    options(parser.add_argument_group("how it is opened"), _opening(), skip=("path", "clock", "key"))


def _opening() -> Any:
    from slowwave.memory import Memory

    return Memory


@command("make, list and revoke keys of the server", "slowwave keys add --name laptop --user-id ana", fill_keys)
def keys(args: Args) -> Done:
    need_server()
    from slowwave.serve.keys import Keys, values

    with opened(args, create=args.action == "add") as memory:
        own = Keys(memory)
        if args.action == "add":
            return _added(args, own)
        if args.action == "revoke":
            if not getattr(args, "key", None):
                raise UsageError("slowwave keys revoke: name the key's id; see: slowwave keys list")
            key = own.revoke(args.key)
            return Done(values(key), lambda page: page.line(f"revoked {key.id}"))
        rows = [values(key) for key in own.list()]

    def show(page: Page) -> None:
        for row in rows:
            state = "revoked" if row["revoked"] else "expires " + row["expires"][:16] if row["expires"] else ""
            reach = (
                "; ".join(" ".join(f"{k}={v}" for k, v in scope.items()) for scope in row["scopes"]) or "every scope"
            )
            page.line((f"{row['id']}  ", "dim"), (f"{row['name'] or '-'}  ", "bold"), f"{reach}  ",
                      (",".join(row["verbs"]), "cyan"), (f"  {state}" if state else "", "red"))  # fmt: skip
        if not rows:
            page.line("there are no keys; the server answers this machine alone")

    return Done({"results": rows}, show)


def _added(args: argparse.Namespace, own: Any) -> Done:
    from slowwave.records import Scope
    from slowwave.serve.access import EVERYDAY
    from slowwave.serve.keys import values
    from slowwave.serve.limits import LIMITS

    fields = {name: getattr(args, name, None) or os.environ.get(f"SLOWWAVE_{name.upper()}") for name in SCOPE_FIELDS}
    named = {name: value for name, value in fields.items() if value}
    everyone = getattr(args, "everyone", False)
    if everyone == bool(named):
        raise UsageError("slowwave keys add: name the scope that it reaches (--user-id ana, ...), or say --everyone")
    limits = {name: getattr(args, name) for name in LIMITS if hasattr(args, name)}
    verbs = [part.strip() for part in getattr(args, "verbs", ",".join(EVERYDAY)).split(",") if part.strip()]
    key, secret = own.add(
        getattr(args, "name", ""), scopes=[] if everyone else [Scope(**named)], verbs=verbs, limits=limits,
        expires=getattr(args, "expires", None),
    )  # fmt: skip

    def show(page: Page) -> None:
        page.line((secret, "bold"))
        page.line(("this is the only time that it is shown; send it as: Authorization: Bearer sw_...", "dim"))

    return Done({**values(key), "key": secret}, show)


def fill_held(parser: Parser) -> None:
    """The action, and what is shown."""
    parser.add_argument("action", choices=("list", "release", "drop"), help="show what is kept apart, or decide")
    parser.add_argument("id", nargs="?", metavar="ID", help="with release and drop: which")
    takes("held")(parser)


@command("what was kept apart as written for a model to obey", "slowwave held list --user-id ana", fill_held)
def held(args: Args) -> Done:
    scope = scope_args(args)
    with opened(args) as memory:
        if args.action != "list":
            if not getattr(args, "id", None):
                raise UsageError(f"slowwave held {args.action}: name what is held; see: slowwave held list")
            report = (memory.release if args.action == "release" else memory.drop)(args.id, **scope)
            said = "released; it is a record now" if args.action == "release" else "dropped"
            return Done(report.to_dict(), lambda page: page.line(said))
        found = memory.held(**given(args, memory.held), **scope)
    rows = [
        {"id": one.id, "scope": one.scope.to_dict(), "text": one.text, "reason": one.reason,
         "recorded": one.recorded.isoformat(), "decision": one.decision}
        for one in found
    ]  # fmt: skip

    def show(page: Page) -> None:
        for one in found:
            page.line((f"{one.id}  ", "dim"), (f"{day(one.recorded)}  ", "cyan"), (f"{one.decision}  ", "green"),
                      page.short(one.text))  # fmt: skip
            page.line((f"  {one.reason}", "yellow"))
        if not found:
            page.line("nothing is kept apart")

    return Done({"results": rows}, show)


def fill_mcp(parser: Parser) -> None:
    """What to do, for which client, with which tools."""
    from slowwave.serve.clients import CLIENTS

    says = "serve one client over standard input and output (the default), or print its configuration"
    parser.add_argument("action", nargs="?", choices=("serve", "install"), default="serve", help=says)
    takes()(parser)
    group = parser.add_argument_group("MCP")
    says = "slowwave's eight tools, those of the reference memory server, or both (default: default)"
    group.add_argument("--tools", choices=("default", "reference", "all"), default="default", help=says)
    group.add_argument("--profile", choices=("full", "readonly"), default="full",
                       help="readonly has no tool that changes anything (default: full)")  # fmt: skip
    group.add_argument("--client", choices=[client.name for client in CLIENTS], help="with install: this one alone")
    group.add_argument("--url", help="with install: of a running server, such as http://127.0.0.1:8765/mcp/ana")
    group.add_argument("--key-variable", metavar="NAME", help="with install: the environment variable with the key")


@command("serve a client over MCP, or print its configuration", "slowwave mcp install --user-id ana", fill_mcp)
def mcp(args: Args) -> Done:
    need_server()
    if args.action == "install":
        return _installed(args)
    from slowwave.records import Scope
    from slowwave.serve.access import Access
    from slowwave.serve.mcp_server import Seat, run_stdio
    from slowwave.serve.service import Service

    readonly = args.profile == "readonly"
    with opened(args, create=not readonly) as memory:
        service = Service(memory, readonly=readonly)
        try:
            access = Access("stdio", (Scope(**scope_args(args)),), readonly=readonly or memory.readonly)
            run_stdio(service, Seat(access, args.tools, args.profile))
        finally:
            service.close()
    return Done({}, lambda page: None, told=True)


def _installed(args: argparse.Namespace) -> Done:
    """What to put where; nothing is written."""
    import shutil

    from slowwave.ops.arguments import default_path
    from slowwave.serve.clients import CLIENTS, client_named, configuration
    from slowwave.store import is_url

    chosen = [client_named(args.client)] if getattr(args, "client", None) else CLIENTS
    program = shutil.which("slowwave")
    words = [program] if program else [sys.executable, "-m", "slowwave"]
    named = getattr(args, "db", None) or default_path()
    words += ["mcp", "--db", named if is_url(named) else os.path.abspath(os.path.expanduser(named))]
    url = getattr(args, "url", "")
    for name, value in ({} if url else scope_args(args)).items():
        words += ["--" + name.replace("_", "-"), value]
    words += [word for name in ("tools", "profile") if getattr(args, name) != ("default" if name == "tools" else "full")
              for word in (f"--{name}", getattr(args, name))]  # fmt: skip
    texts = {c.name: configuration(c, words, url, getattr(args, "key_variable", "")) for c in chosen}

    def show(page: Page) -> None:
        for client in chosen:
            page.line((client.title, "bold"), f": put this into {client.where}" if client.where else ": run this")
            page.line("")
            for line in texts[client.name].splitlines():
                print("  " + line)
            page.line("")

    return Done({"results": [{"client": c.name, "where": c.where, "text": texts[c.name]} for c in chosen]}, show)


def fill_backup(parser: Parser) -> None:
    """Where the copy goes."""
    takes("backup", ("path", None))(parser)


@command("copy the whole memory while others write to it", "slowwave backup memory-2024-05-08.db", fill_backup)
def backup(args: Args) -> Done:
    from slowwave.progress import Bars

    with opened(args) as memory, Bars() as bars:
        count = memory.backup(args.path, progress=bars)
    values = {"path": args.path, "bytes": count}
    return Done(values, lambda page: page.line(f"wrote {count:,} bytes to {args.path}"))
