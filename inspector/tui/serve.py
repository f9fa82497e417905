"""The program in a browser, by textual-serve, an optional extra; nobody else's page may drive it."""

from __future__ import annotations

import asyncio
import shlex
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from inspector.capture.errors import UsageError

#: What the page may load: its own parts. textual-serve's page asks for a font elsewhere, which it can do without.
_POLICY = (
    "default-src 'none'; script-src {pages} 'unsafe-inline'; style-src {pages} 'unsafe-inline'; "
    "font-src {pages} data:; img-src {pages} data: blob:; connect-src {pages} {sockets}; "
    "base-uri 'none'; form-action 'none'"
)
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def is_loopback(host: str) -> bool:
    """Only programs of this machine reach it."""
    return host in (*_LOOPBACK, "::1")


def names_of(host: str, port: int) -> frozenset[str]:
    """What a browser may call the server in Host and Origin."""
    own = f"[{host}]" if ":" in host else host
    names = {own, *(_LOOPBACK if is_loopback(host) else ())}
    return frozenset(f"{name}:{port}" for name in names) | (frozenset(names) if port == 80 else frozenset())


def refusal(host: str, origin: str, names: frozenset[str]) -> str:
    """Why a request is none of ours, by its headers; empty when it is.

    A page elsewhere may open a WebSocket to any address, and a name elsewhere may lead to this machine: browsers tell
    who asks (RFC 6455, 10.2).
    """
    if host.lower() not in names:
        return f"Host is {host or 'missing'}"
    if origin and urlsplit(origin).netloc.lower() not in names:
        return f"Origin is {origin}"
    return ""


def serve(words: Sequence[str], host: str, port: int, tell: Callable[[str], None]) -> None:
    """Serve ``inspector open WORDS`` until Ctrl-C; each page has a program of its own.

    Raises UsageError without the extra, and where the address cannot be had.
    """
    try:
        library = import_module("textual_serve.server")
        web = import_module("aiohttp.web")
    except ImportError:
        raise UsageError("serve needs textual-serve: pip install 'vcpu-inspector[serve]'") from None
    names = names_of(host, port)
    own = f"[{host}]" if ":" in host else host
    command = shlex.join([sys.executable, "-m", "inspector", "open", *words])
    server: Any = library.Server(command, host, port, title="inspector", public_url=f"http://{own}:{port}")

    async def begin(_application: Any) -> None:
        tell(f"http://{own}:{port}/ shows it; Ctrl-C ends")

    make = server._make_app

    async def guarded() -> Any:
        application = await make()
        application.middlewares.append(_guard(web, names))
        return application

    # textual-serve has no other way to them.
    server.on_startup, server._make_app, server.initialize_logging = begin, guarded, lambda: None
    _check_free(host, port)
    asyncio.set_event_loop(asyncio.new_event_loop())
    server.serve()


def _check_free(host: str, port: int) -> None:
    """Raises UsageError where nothing can listen; the library would tell only after it has begun."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except (OSError, UnicodeError) as error:
        raise UsageError(f"serve: {host}:{port}: {getattr(error, 'strerror', '') or error}") from None


def _guard(web: Any, names: frozenset[str]) -> Any:
    # A source has no form for an IPv6 address (Content Security Policy level 3, 2.3.1): there is 'self'.
    listed = sorted(name for name in names if "[" not in name)
    pages = " ".join(["'self'", *(f"http://{name}" for name in listed)])
    policy = _POLICY.format(pages=pages, sockets=" ".join(f"ws://{name}" for name in listed))

    @web.middleware  # type: ignore[untyped-decorator,unused-ignore]
    async def guard(request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        why = refusal(request.headers.get("Host", ""), request.headers.get("Origin", ""), names)
        if why:
            return web.Response(status=403, text=f"not answered: {why}\n")
        response = await handler(request)
        if not response.prepared:
            response.headers["Content-Security-Policy"] = policy
            response.headers["X-Frame-Options"] = "DENY"
        return response

    return guard
