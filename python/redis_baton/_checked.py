"""An argument of a wrong type is bad input like any other: a reason code and one sentence."""

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
    """Let a step raise `InvalidInput` where the interpreter would raise `TypeError`."""

    @wraps(step)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return step(*args, **kwargs)
        except TypeError as error:
            here = error.__traceback__
            if here is not None and here.tb_next is not None:
                raise  # raised by the caller's own callback
            message = f"{step.__name__}: {error} (unchanged)"
            raise InvalidInput(message, "invalid_input") from None

    return call
