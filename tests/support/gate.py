"""A way to a server that can be stopped at one command: so a controller dies exactly there."""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

# What only the demotion, the promotion, the pause, its end and the shutdown have in them: the
# probes of the preflight name some of the same commands.
DEMOTION = b"SKIPME"
PAUSE = b"$5\r\nPAUSE\r\n$4\r\n1000\r\n"
PROMOTION = b"$2\r\nNO\r\n$3\r\nONE"
REHEARSAL = b"$5\r\nMULTI\r\n*2\r\n$4\r\nINFO"
UNPAUSE = b"UNPAUSE"
FENCE = b"$7\r\nMONITOR\r\n*3"  # the pause before 6.2 comes with it
SHUTDOWN = b"$8\r\nSHUTDOWN\r\n$6\r\nNOSAVE"


class Gate:
    """A port on loopback that leads to another one, until `at` is about to be sent through it.

    The first time nothing more gets through on that connection until `open`; other connections do
    not notice. With `after` it is only from then on that it stops: when that has been sent through
    it. With `meanwhile` that is called each time instead, and then the command is sent.
    When either end closes, the other end is closed too.
    """

    def __init__(
        self,
        port: int,
        at: bytes | None = None,
        meanwhile: Callable[[], None] | None = None,
        after: bytes = b"",
    ) -> None:
        self.reached = threading.Event()
        """Set when the command is there."""
        self._to = port
        self._at = at
        self._meanwhile = meanwhile
        self._after = after
        self._stops = threading.Event()
        if not after:
            self._stops.set()
        self._opened = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def open(self) -> None:
        """Let through what was held."""
        self._opened.set()

    def __enter__(self) -> Self:
        self._start(self._listen)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.open()
        # Not closed here: a thread that waits for one that is closed waits for ever.
        for one in (self._listener, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def _start(self, target: Callable[..., None], *arguments: socket.socket) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._to)) as server:
            self._sockets.append(server)
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._forward(client, server)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            while True:
                for key, _ in ready.select():
                    assert isinstance(key.fileobj, socket.socket)
                    data = key.fileobj.recv(1 << 16)
                    if not data:
                        return
                    if key.fileobj is client and self._is_at(data):
                        if self._meanwhile:
                            self._meanwhile()
                        elif not self._hold(client):
                            return
                    key.data.sendall(data)
                    if self._after in data:
                        self._stops.set()

    def _is_at(self, data: bytes) -> bool:
        return self._at is not None and self._stops.is_set() and self._at in data

    def _hold(self, client: socket.socket) -> bool:
        """Wait until it is opened; False if the client has gone before."""
        if self.reached.is_set():
            return True
        self.reached.set()
        client.settimeout(0.01)
        while not self._opened.is_set():
            with suppress(TimeoutError, socket.timeout):
                if not client.recv(1 << 16, socket.MSG_PEEK):
                    return False
                self._opened.wait(0.01)  # it has sent more, which waits too
        client.settimeout(None)
        return True
