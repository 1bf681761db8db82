"""Serves pages only to browsers on this machine: read-only, from memory, by exact path.

The socket listens on the loopback address. A page of another site could still send a browser here by a host name that
resolves to it (DNS rebinding), so the host of every request must be a name of the loopback address.
"""

import json
import socketserver
import threading
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

HOST = "127.0.0.1"
_NAMES = ("127.0.0.1", "localhost", "::1")
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_IDLE_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Served:
    """What is sent for one path."""

    content: bytes
    kind: str
    """Its media type."""


class PageServer:
    """Serves what was published last, in threads of its own, while it is entered."""

    def __init__(self, port: int) -> None:
        """
        Args:
            port: to listen on; 0 for any that is free.

        Raises:
            OSError: the port is in use.
        """
        self._pages: dict[str, Served] = {}
        handler = type("Handler", (_Handler,), {"pages": self._pages})
        self._server = _Server((HOST, port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="pages", daemon=True)

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{HOST}:{self._server.server_address[1]}/"

    def __enter__(self) -> "PageServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def publish(self, path: str, page: str) -> None:
        """Serve this page at a path from now on."""
        self._pages[path] = Served(content=page.encode(), kind="text/html; charset=utf-8")

    def publish_state(self, path: str, state: dict[str, Any]) -> None:
        """Serve this as JSON at a path from now on."""
        self._pages[path] = Served(content=json.dumps(state).encode(), kind="application/json")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without asking for the name of the address, which may wait for a name server."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away costs no traceback."""


class _Handler(BaseHTTPRequestHandler):
    pages: dict[str, Served]
    server_version, sys_version = "rungwise", ""
    timeout = _IDLE_SECONDS

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def __getattr__(self, name: str) -> Any:
        """Every other method is refused; `BaseHTTPRequestHandler` asks for `do_METHOD`."""
        if name.startswith("do_"):
            return self._refuse_method
        raise AttributeError(name)

    def _answer(self, *, with_content: bool) -> None:
        if not is_local(self.headers.get_all("Host", [])):
            self._send(HTTPStatus.MISDIRECTED_REQUEST, _said("this page is for this machine only"), with_content)
            return
        found = self.pages.get(urlsplit(self.path).path)
        if found is None:
            self._send(HTTPStatus.NOT_FOUND, _said("there is no such page"), with_content)
            return
        self._send(HTTPStatus.OK, found, with_content)

    def _refuse_method(self) -> None:
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, _said("only GET and HEAD are allowed"), True, {"Allow": "GET, HEAD"})

    def _send(self, status: HTTPStatus, served: Served, with_content: bool, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        headers = {"Content-Type": served.kind, "Content-Length": str(len(served.content)), **_HEADERS, **(more or {})}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if with_content:
            self.wfile.write(served.content)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: a page asks every few seconds."""


def is_local(hosts: list[str]) -> bool:
    """Whether the `Host` headers of a request are one name of the loopback address, with or without a port.

    The port may differ: a tunnel from another machine (`ssh -L`) has its own.
    """
    if len(hosts) != 1:
        return False
    try:
        parts = urlsplit(f"//{hosts[0].strip()}")
        return parts.hostname in _NAMES and not parts.path and parts.username is None and (parts.port or 1) > 0
    except ValueError:
        return False


def _said(text: str) -> Served:
    return Served(content=f"{text}\n".encode(), kind="text/plain; charset=utf-8")
