"""What can go wrong, in words of the domain. `api/errors.py` alone knows how each is said on the wire.

Every message is read by a user: it says what is wrong and what to do next.
"""


class DomainError(Exception):
    """The root of every error that a caller is meant to see."""


class Invalid(DomainError):
    """The request can never succeed as it is; the message names the field."""


class NotFound(DomainError):
    """The thing that was named does not exist."""


class AlreadyExists(DomainError):
    """The name is taken by something different."""


class Conflict(DomainError):
    """The state of the thing forbids it; asking again changes nothing until the state changes."""


class Aborted(DomainError):
    """The run or action was aborted; its children are not taken any more."""


class Exhausted(DomainError):
    """A limit was reached; wait and try again."""


class Unavailable(DomainError):
    """Nothing was done; try again in a moment."""


class Unsupported(DomainError):
    """Known to the protocol, not served by this server."""


class Denied(DomainError):
    """The caller may not do this."""


class Stale(DomainError):
    """The row has moved on since it was read: look again. Never leaves the loops."""


class LaunchRefused(DomainError):
    """An executor can never start this launch. `code` is the error code the action fails with."""

    def __init__(self, message: str, code: str = "BadTaskSpecification") -> None:
        super().__init__(message)
        self.code = code
