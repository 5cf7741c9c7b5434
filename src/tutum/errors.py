"""The SDK's errors: one class for each possible reaction of a caller."""


class TutumApiError(Exception):
    """The API refused a request, or its response was invalid.

    Attributes:
        message: The server's explanation, in one sentence.
        status: HTTP status of the response; None if there was none.
    """

    def __init__(self, message: str, *, status: int | None = None, request: str | None = None) -> None:
        """Describe a failed request.

        Args:
            request: Method and path, without secrets.
        """
        self.message = message
        self.status = status
        context = ", ".join(part for part in (f"HTTP {status}" if status else "", request or "") if part)
        super().__init__(f"{message} ({context})" if context else message)

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may succeed later: the server cannot be reached, is overloaded or failed."""
        return self.status is None or self.status >= 500 or self.status == 429


class TutumAuthError(TutumApiError):
    """The credentials are missing or wrong (HTTP 401)."""


class TutumConnectionError(TutumApiError):
    """The server could not be reached, or did not respond in time."""


class ObjectNotFound(TutumApiError):
    """No object has this UUID, UUID prefix or name."""


class NonUniqueIdentifier(TutumApiError):
    """Several objects have this UUID prefix or name."""


class ActionTimeoutError(TutumApiError, TimeoutError):
    """An action had not ended within the time limit of the wait."""
