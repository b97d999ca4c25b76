"""What the steps raise. All of them pickle.

``str(error)`` is the whole story for a person: the server, what was found, what to do, and in what
state things are.
"""

from __future__ import annotations


class BatonError(Exception):
    """Base of all errors.

    Attributes:
        reason: stable code to branch on, such as ``target_has_data``.
        server: the server it is about, such as ``target 127.0.0.1:6380``; None where it is about an
            argument.
        state: ``unchanged`` (nothing was changed), ``undone`` (the source serves as before) or
            ``interrupted`` (run the same thing again).
        remedy: what to do next; may be empty.
        actions: the commands that were sent and change a server, secrets masked.
    """

    def __init__(
        self,
        message: str,
        reason: str = "",
        server: str | None = None,
        state: str = "unchanged",
        remedy: str = "",
        actions: list[str] | None = None,
    ) -> None:
        super().__init__(message, reason, server, state, remedy, actions)
        self.reason = reason
        self.server = server
        self.state = state
        self.remedy = remedy
        self.actions = actions or []

    def __str__(self) -> str:
        return str(self.args[0])


class InvalidInput(BatonError, ValueError):
    """An argument is wrong: no server was asked."""


class ConnectionFailed(BatonError):
    """A server can't be reached, or does not let us in."""


class Refused(BatonError):
    """The servers are in a state in which going on would be unsafe."""


class TimedOut(BatonError):
    """A wait ended without what was waited for."""


class Failed(BatonError):
    """A command failed, or an end state could not be confirmed."""
