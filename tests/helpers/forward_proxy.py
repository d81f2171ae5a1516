"""A forward proxy for HTTP and SOCKS5, as `HTTP_PROXY` and `ALL_PROXY` name it: it logs what it is asked to reach."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from urllib.parse import urlsplit

from helpers.serving import serving

_SOCKS5 = 5
_DOMAIN, _IPV4 = 3, 1


class ForwardProxy(socketserver.ThreadingTCPServer):
    """Forwards the connections for known hosts to servers on loopback, and refuses all others.

    Attributes:
        hosts: every host that a client asked for, in order.
    """

    daemon_threads = True

    def __init__(self, known: Mapping[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.known = {host: urlsplit(address) for host, address in known.items()}
        self.hosts: list[str] = []

    def environment(self, scheme: str) -> dict[str, str]:
        """Return the variables that send everything through this proxy."""
        address = f"{scheme}://127.0.0.1:{self.server_address[1]}"
        names = ("ALL_PROXY",) if scheme.startswith("socks") else ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        return {spelling: address for name in names for spelling in (name, name.lower())}

    def connect(self, host: str) -> socket.socket | None:
        """Connect to the server that stands for a host, if there is one."""
        self.hosts.append(host)
        target = self.known.get(host)
        return socket.create_connection((target.hostname, target.port)) if target else None


class _Handler(socketserver.StreamRequestHandler):
    server: ForwardProxy

    def handle(self) -> None:
        if self.connection.recv(1, socket.MSG_PEEK) == bytes([_SOCKS5]):
            self._socks()
        else:
            self._http()

    def _socks(self) -> None:
        _, n_methods = self.rfile.read(2)
        self.rfile.read(n_methods)
        self.wfile.write(bytes([_SOCKS5, 0]))
        *_, kind = self.rfile.read(4)
        if kind == _DOMAIN:
            host = self.rfile.read(self.rfile.read(1)[0]).decode()
        else:
            family, length = (socket.AF_INET, 4) if kind == _IPV4 else (socket.AF_INET6, 16)
            host = socket.inet_ntop(family, self.rfile.read(length))
        self.rfile.read(2)
        upstream = self.server.connect(host)
        self.wfile.write(bytes([_SOCKS5, 0 if upstream else 4, 0, 1]) + bytes(6))
        if upstream:
            self._tunnel(upstream)

    def _http(self) -> None:
        request = self.rfile.readline()
        method, target, version = request.decode().split()
        connects = method == "CONNECT"
        address = urlsplit(f"//{target}" if connects else target)
        upstream = self.server.connect(str(address.hostname))
        if upstream is None:
            self.wfile.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        # One request per connection: the next one may be for another host.
        headers = [line for line in iter(self.rfile.readline, b"\r\n") if not line.lower().startswith(b"connection:")]
        if connects:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            path = address._replace(scheme="", netloc="").geturl()
            first = f"{method} {path or '/'} {version}\r\n".encode()
            upstream.sendall(b"".join([first, *headers, b"Connection: close\r\n\r\n"]))
        self._tunnel(upstream)

    def _tunnel(self, upstream: socket.socket) -> None:
        answers = threading.Thread(target=_copy, args=(upstream, self.connection), daemon=True)
        answers.start()
        _copy_file(self, upstream)
        answers.join()
        upstream.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def _copy_file(handler: _Handler, target: socket.socket) -> None:
    try:
        # The headers may have been read together with a part of the body.
        while data := handler.rfile.read1(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


def forward_proxy(known: Mapping[str, str]) -> AbstractContextManager[ForwardProxy]:
    """Run a forward proxy while the block runs.

    Args:
        known: host → base URL of the server on loopback that stands for it.
    """
    return serving(ForwardProxy(known))
