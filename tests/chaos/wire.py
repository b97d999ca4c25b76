"""As much of the protocol as the proxy needs: where commands and replies end, and their names."""

from __future__ import annotations

CRLF = b"\r\n"
# Replies of which the first line is all there is, and those made of others, with how many each.
SIMPLE = frozenset(b"+-:_#,(")
NESTED = {b"*"[0]: 1, b"~"[0]: 1, b">"[0]: 1, b"%"[0]: 2}


def take_command(buffer: bytearray) -> tuple[list[bytes], bytes] | None:
    """Take the first command off the buffer: its words and its text; None if it is not whole."""
    end = buffer.find(CRLF)
    if end < 0:
        return None
    if buffer[:1] != b"*":  # an inline command
        words, at = bytes(buffer[:end]).split(), end + 2
    else:
        words, at = [], end + 2
        for _ in range(int(buffer[1:end])):
            end = buffer.find(CRLF, at)
            if end < 0:
                return None
            length = int(buffer[at + 1 : end])
            at = end + 2 + length + 2
            if len(buffer) < at:
                return None
            words.append(bytes(buffer[end + 2 : at - 2]))
    text = bytes(buffer[:at])
    del buffer[:at]
    return words, text


def take_reply(buffer: bytearray) -> bytes | None:
    """Take the first reply off the buffer; None if it is not whole."""
    end = _end_of_reply(buffer, 0)
    if end is None:
        return None
    reply = bytes(buffer[:end])
    del buffer[:end]
    return reply


def _end_of_reply(buffer: bytearray, at: int) -> int | None:
    line = buffer.find(CRLF, at)
    if line < 0:
        return None
    kind, after = buffer[at], line + 2
    if kind in SIMPLE:
        return after
    length = int(buffer[at + 1 : line])
    if kind not in NESTED:  # a text of that length; -1 is none
        end = after + length + 2 if length >= 0 else after
        return end if len(buffer) >= end else None
    for _ in range(length * NESTED[kind]):
        end_of_one = _end_of_reply(buffer, after)
        if end_of_one is None:
            return None
        after = end_of_one
    return after


def title(words: list[bytes]) -> str:
    """Name a command without what differs from run to run: `CONFIG-SET-port`, `INFO-stats`."""
    text = [word.decode(errors="replace") for word in words]
    name = text[0].upper()
    if name == "CONFIG":
        shown = [name, text[1].upper(), *text[2:3]]
    elif name == "CLIENT":
        shown = [name, text[1].upper(), *(text[3:4] if text[2:3] == ["TYPE"] else [])]
    elif name == "REPLICAOF" and text[1].upper() == "NO":
        shown = [name, "NO", "ONE"]
    elif name in {"INFO", "ACL", "MODULE"}:
        shown = text
        shown = [name, *shown[1:2]]
    else:
        shown = [name]
    return "-".join(shown)
