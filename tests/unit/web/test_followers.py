"""Clients that follow logs: their cursors and their number."""

import zlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from tutumd.errors import InvalidInputError, TooManyCallsError, UnavailableError
from tutumd.model import SINCE, Output, User
from tutumd.web.followers import LASTS_S, MAX_FOLLOWERS, MAX_FOLLOWERS_OF_USER, PAUSE_S, Followers


class Bed:
    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[Mapping[str, str] | None] = []
        self.followers = Followers(lambda: self.now)
        self.position = {"web-1": "5"}

    def read(self, cursor: str = "", user: str = "ann", since: str = "") -> str:
        viewer = User(uuid=user, name=user, is_admin=False, created=datetime(2026, 1, 1, tzinfo=UTC))
        _, following = self.followers.read(viewer, cursor, since, self._ask)
        return following

    def _ask(self, position: Mapping[str, str] | None) -> Output:
        self.asked.append(position)
        return Output(text="line", position=self.position)


def test_a_cursor_continues_after_the_last_line() -> None:
    bed = Bed()
    bed.read(bed.read(since="2026-01-01T00:00:00Z"))
    assert bed.asked == [{SINCE: "2026-01-01T00:00:00Z"}, {"web-1": "5"}]


def test_a_cursor_of_many_containers_fits_an_address() -> None:
    bed = Bed()
    bed.position = {sha256(b"%d" % n).hexdigest()[:25]: f"2026-01-01T00:00:00.{n * 7919:09} 1" for n in range(180)}
    cursor = bed.read()
    bed.read(cursor)
    assert (len(cursor) < 8_000, bed.asked[-1]) == (True, bed.position)
    bomb = urlsafe_b64encode(zlib.compress(b'{"a": "' + b"0" * 10_000_000 + b'"}')).decode()
    with pytest.raises(InvalidInputError):
        bed.read(f"x.{bomb}")


@pytest.mark.parametrize("cursor", ["x", "x.!", "x.W10=", "x.eyJhIjoxfQ==", "." + "W" * 20_000, "\ud800.\ud800"])
def test_another_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidInputError, match="after must be `next` of an earlier response"):
        Bed().read(cursor)


def test_a_follower_reads_at_a_pace_and_there_are_few_of_them() -> None:
    bed = Bed()
    cursor = bed.read(bed.read())
    with pytest.raises(TooManyCallsError, match="wait at least 1 s"):
        bed.read(cursor)
    bed.now += PAUSE_S
    cursor = bed.read(cursor)
    for _ in range(MAX_FOLLOWERS_OF_USER - 1):
        bed.read(bed.read())
    with pytest.raises(TooManyCallsError, match="you follow 8 logs already"):
        bed.read(bed.read())
    for number in range(MAX_FOLLOWERS - MAX_FOLLOWERS_OF_USER):
        bed.read(bed.read(), user=f"user-{number}")
    with pytest.raises(UnavailableError, match="follow 32 logs already"):
        bed.read(bed.read(), user="late")
    asked = len(bed.asked)
    bed.now += LASTS_S
    bed.read(bed.read(), user="late")
    assert len(bed.asked) == asked + 2
