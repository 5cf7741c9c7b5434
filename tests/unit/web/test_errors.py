"""Statuses of errors."""

from collections.abc import Iterator

import pytest

from tutumd import errors
from tutumd.web.errors import describe_error, error_response


def kinds_of(kind: type[errors.TutumdError]) -> Iterator[type[errors.TutumdError]]:
    yield kind
    for special in kind.__subclasses__():
        yield from kinds_of(special)


@pytest.mark.parametrize("kind", list(kinds_of(errors.UnavailableError)))
def test_every_unavailable_error_is_a_503(kind: type[errors.TutumdError]) -> None:
    answer = error_response(*describe_error(kind("the database cannot take this now")))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, str(getattr(kind, "retry_after_s", 1)))
