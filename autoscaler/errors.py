"""Everything this package raises on purpose.

    AutoscalerError
    ├── ConfigError             the operator's to mend; exit code 2
    ├── InputError              a line or file given to a command; exit code 2
    ├── ObserveError            the cycle could not see
    │   └── TargetReadError     the Deployment, its scale or its pods could not be read
    └── ActError                the cycle could not write
        ├── TargetWriteError    the API refused or could not be reached
        │   └── UnknownWriteError   the answer was lost: it may have happened or not
        ├── ForbiddenError      the API denied it: a right is missing
        └── ConflictError       somebody else changed `replicas` since we looked

A metric that cannot be had is not an error: it is a `Missing` value.
"""

from collections.abc import Iterator


class AutoscalerError(Exception):
    """The base of every error that this package raises on purpose."""

    def __init__(self, message: str = "", *, next_step: str = "") -> None:
        """Say what, where, which value and what would be right; and what to do or type next."""
        super().__init__(message)
        self.next_step = next_step


def told(error: AutoscalerError) -> str:
    """Return the one line that a person reads: what is wrong, and what to do or type next."""
    return f"{error}; next: {error.next_step}" if error.next_step else str(error)


class ConfigError(AutoscalerError):
    """The configuration cannot be used; the message is one line: key, rule and value."""


class InputError(AutoscalerError):
    """Something given to a command cannot be used; the message says where and what."""


class ObserveError(AutoscalerError):
    """The cycle could not see what it needs."""


class TargetReadError(ObserveError):
    """The target's scale or pods could not be read."""


class ActError(AutoscalerError):
    """The cycle could not write what it decided."""


class TargetWriteError(ActError):
    """The write failed."""


class UnknownWriteError(TargetWriteError):
    """The answer was lost: the write may or may not have happened."""


class ForbiddenError(ActError):
    """The API denied the write: a right is missing."""


class ConflictError(ActError):
    """The replica count was no longer the one that the decision was made on."""


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, what it was raised from or while handling, and so on to the root."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
