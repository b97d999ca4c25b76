"""One connection through the proxy: where its commands and replies are told apart."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.chaos.wire import take_command, take_reply

if TYPE_CHECKING:
    from tests.chaos.proxy import Proxy

# What a replica says before PSYNC; a connection of ours says something else soon.
HANDSHAKE = frozenset({b"PING", b"AUTH", b"REPLCONF"})
REPLY_TIME = 1.0


class Gone(Exception):
    """This connection is over."""


@dataclass
class Sent:
    """A command that was forwarded, and whose reply has not come yet."""

    point: str | None = None
    moves_port: bool = False
    triggers: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Connection:
    """One connection through the proxy. Ours are counted; a replica's passes as it is."""

    def __init__(
        self, proxy: Proxy, side: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.side = side
        self.may_have_moved = False
        self._proxy = proxy
        self._from_client, self._to_client = reader, writer
        self._expected: deque[Sent] = deque()
        self._ours = self._beside = False
        self._raw = False
        self._moving = False

    async def run(self, port: int) -> None:
        """Forward until one end closes it."""
        await self._proxy.held(self.side)
        try:
            opened = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            self.reset()
            return
        self._from_server, self._to_server = opened
        self._proxy.opened(self)
        pumps = [asyncio.ensure_future(pump()) for pump in (self._commands, self._replies)]
        with suppress(asyncio.CancelledError):  # the proxy stops
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        # Closed first: a cancellation can get lost (in wait_for before Python 3.12), an end can't.
        self._to_server.close()
        self._to_client.close()
        for pump in pumps:
            pump.cancel()
        ended = await asyncio.gather(*pumps, return_exceptions=True)
        self._proxy.closed(self)
        for error in ended:
            if not isinstance(error, (type(None), OSError, Gone, asyncio.CancelledError)):
                self._proxy.broken.append(repr(error))

    def reset(self) -> None:
        """End it as a cut line does: with RST."""
        plug = self._to_client.get_extra_info("socket")
        if plug is not None:
            with suppress(OSError):
                plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._to_client.transport.abort()
        self._proxy.closed(self)

    async def _commands(self) -> None:
        buffer = bytearray()
        while data := await self._from_client.read(1 << 16):
            await self._proxy.held(self.side)
            buffer += data
            while not self._raw and (command := take_command(buffer)) is not None:
                await self._command(*command)
            if self._raw:
                self._send(bytes(buffer))
                buffer.clear()
            await self._to_server.drain()

    async def _command(self, words: list[bytes], text: bytes) -> None:
        name = words[0].upper()
        if name in {b"PSYNC", b"SYNC"}:
            self._raw = True
        elif name not in HANDSHAKE:
            self._ours = not self._beside
        if words[1:2] == [b"SETNAME"] and words[2].startswith(b"redis-baton."):
            # Who looks on comes when it likes: counted, it would move the points.
            self._beside, self._ours = True, False
        sent = Sent(point=self._proxy.count(self.side, words) if self._ours else None)
        self._note_port(name, words, sent)
        if self._proxy.triggers(sent.point, "before"):
            await self._answered()
            await self._proxy.fire(self)
        sent.triggers = self._proxy.triggers(sent.point, "after")
        self._expected.append(sent)
        self._send(text)
        if sent.triggers:
            await sent.done.wait()

    def _send(self, text: bytes) -> None:
        if self._to_server.is_closing():
            raise Gone
        self._to_server.write(text)

    def _note_port(self, name: bytes, words: list[bytes], sent: Sent) -> None:
        if name == b"CONFIG" and words[1].upper() == b"SET" and words[2].lower() == b"port":
            self._moving = self.may_have_moved = True
            sent.moves_port = True
        if name == b"EXEC":
            sent.moves_port, self._moving = self._moving, False

    async def _answered(self) -> None:
        """Wait until all commands before this one have had their replies."""
        deadline = time.monotonic() + REPLY_TIME
        while self._expected and time.monotonic() < deadline:
            await asyncio.sleep(0.001)

    async def _replies(self) -> None:
        buffer = bytearray()
        while data := await self._from_server.read(1 << 16):
            buffer += data
            while not self._raw and (reply := take_reply(buffer)) is not None:
                await self._reply(reply)
            if self._raw:
                await self._proxy.held(self.side)
                self._pass(bytes(buffer))
                buffer.clear()
            await self._to_client.drain()

    def _pass(self, text: bytes) -> None:
        if self._to_client.is_closing():
            raise Gone
        self._to_client.write(text)

    async def _reply(self, reply: bytes) -> None:
        sent = self._expected[0] if self._expected else Sent()
        if sent.moves_port and reply != b"+QUEUED\r\n":
            await self._proxy.port_moved()
        if sent.triggers:
            await self._proxy.fire(self)
            sent.done.set()
        await self._proxy.held(self.side)
        self._pass(reply)
        if self._expected:
            self._expected.popleft()
        if sent.point:
            self._proxy.passed.add(sent.point)
