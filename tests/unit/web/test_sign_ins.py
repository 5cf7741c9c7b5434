"""Failed sign-ins are limited per client; those that succeed are not."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest

from tutumd.application import refused_calls
from tutumd.application.digests import sha256_hex
from tutumd.application.refused_calls import WINDOW_S
from tutumd.errors import TooManyCallsError, UnauthorizedError
from tutumd.model import User
from tutumd.web.sign_ins import MAX_FAILURES, SignIns

RIGHT = "right" * 4
ANN = User(uuid="u", name="ann", is_admin=True, created=datetime(2026, 1, 1, tzinfo=UTC))


class Accounts:
    """One user, and how often a key was looked up."""

    looked_up = 0

    def user_by_key(self, key_sha256: str) -> User | None:
        self.looked_up += 1
        return ANN if key_sha256 == sha256_hex(RIGHT) else None


class Bed:
    def __init__(self) -> None:
        self.now = 0.0
        self.accounts = Accounts()
        self.sign_ins = SignIns(cast(Any, self.accounts), monotonic=lambda: self.now)

    def fail(self, client: str, times: int) -> None:
        for _ in range(times):
            with pytest.raises(UnauthorizedError):
                self.sign_ins.authenticate(client, "ann", "wrong")

    def succeed(self, client: str, key: str = RIGHT) -> None:
        assert self.sign_ins.authenticate(client, "ann", key).name == "ann"


def test_after_20_failures_no_key_is_looked_up_until_the_minute_is_over() -> None:
    bed = Bed()
    bed.fail("a", MAX_FAILURES)
    bed.now = 9.5
    with pytest.raises(TooManyCallsError) as error:
        bed.sign_ins.authenticate("a", "ann", RIGHT)
    assert error.value.retry_after_s == 51
    assert bed.accounts.looked_up == MAX_FAILURES
    bed.succeed("b")
    bed.now = WINDOW_S
    bed.succeed("a")


def test_successes_are_never_limited_also_beside_failures() -> None:
    bed = Bed()
    for _ in range(100):
        bed.succeed("a")
    bed.fail("a", MAX_FAILURES)
    bed.succeed("a")
    with pytest.raises(TooManyCallsError):
        bed.sign_ins.authenticate("a", "ann", "wrong")


def test_failures_of_many_clients_displace_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused_calls, "MAX_CLIENTS", 3)
    bed = Bed()
    bed.succeed("a")
    for client in ("b", "c", "d"):
        bed.fail(client, 1)
    bed.fail("a", MAX_FAILURES)
    bed.succeed("a")
