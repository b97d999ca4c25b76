"""An argument that is wrong as such is bad input like any other: a reason code and one sentence."""

from __future__ import annotations

from functools import wraps

from .errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs the import of this package more than the rest of it
    from collections.abc import Callable
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")


def checked(step: Callable[P, R]) -> Callable[P, R]:
    """Let a step raise `InvalidInput` also where the interpreter would raise `TypeError`."""

    @wraps(step)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        on_event = kwargs.get("on_event")
        if on_event is not None and not callable(on_event):
            raise wrong(f"on_event: is {type(on_event).__name__}, which can't be called")
        # Taken for the current folder it would scatter what a rerun looks for.
        if kwargs.get("journal_dir") == "":
            raise wrong("journal_dir: names no folder; leave it out for the default one")
        try:
            return step(*args, **kwargs)
        except (TypeError, OverflowError) as error:
            here = error.__traceback__
            if here is not None and here.tb_next is not None:
                raise  # raised by the caller's own callback
            # Which argument it is about is in a note: before Python 3.11 there are none.
            notes = " ".join(getattr(error, "__notes__", []))
            name = notes.partition("'")[2].partition("'")[0] or step.__name__
            raise wrong(f"{name}: {error}") from None

    return call


def wrong(problem: str) -> InvalidInput:
    """Return the error for a wrong argument."""
    return InvalidInput(f"{problem} (unchanged)", "invalid_input")
