"""Every error raised on purpose, named by its cause and by what the caller can do about it."""


class TutumdError(Exception):
    """Base of all errors that tutumd raises on purpose. Its text is meant for people."""


NOT_FOUND = "there is no such object, or it is not yours"
"""What every NotFoundError says that could tell whether something exists."""


class InvalidInputError(TutumdError):
    """What was sent is wrong: fix it and send it again."""


class UnauthorizedError(TutumdError):
    """Credentials are missing, malformed or wrong."""


class ForbiddenError(TutumdError):
    """The credentials are right but do not allow this."""


class NotFoundError(TutumdError):
    """There is no such object, or it is another user's: both read the same."""


class ConflictError(TutumdError):
    """The request does not fit the present state, or a unique name is taken."""


class UnavailableError(TutumdError):
    """The store cannot take the request now: try again later. Nothing was changed."""


class LockedError(UnavailableError):
    """Another process holds what the request needs, for longer than a transaction should last."""


class ReadOnlyError(UnavailableError):
    """The database takes no writes: another one has taken its place, or will."""


class TooManyCallsError(TutumdError):
    """There were more calls than the limit of a handler or of a client allows: try again after `retry_after_s`."""

    def __init__(self, text: str, retry_after_s: int) -> None:
        """Take the text for people, and whole seconds."""
        super().__init__(text)
        self.retry_after_s = retry_after_s


class AnswerTimeoutError(TutumdError):
    """No worker answered a request row in time."""


class SettingsError(TutumdError):
    """A setting is wrong: the server does not start with it."""


class EngineUnavailableError(TutumdError):
    """The engine cannot be reached, or does not answer, right now: the action waits and is retried."""


class EngineRefusedError(TutumdError):
    """The engine, or our own rule about it, says no for good: the action fails with this text."""


class LeaseLostError(TutumdError):
    """This worker no longer holds the action: it must touch neither the engine nor the store for it."""
