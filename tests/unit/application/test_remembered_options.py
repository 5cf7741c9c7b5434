"""Options of handlers are remembered for a while, and for a bounded number of handlers."""

from unittest.mock import Mock

import pytest

from tests.unit.application.made_handlers import NOW
from tests.unit.worker.fakes import FakeClock
from tutumd.application import calls
from tutumd.application.admission.encryption import SecretCipher, make_key
from tutumd.application.admission.evaluate import parse_options, read_stored, write_stored
from tutumd.errors import ClosedError
from tutumd.model import EvaluationNeeded

AGE_S = 1200


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def cache(clock: FakeClock) -> calls.AdmissionCache:
    return calls.AdmissionCache(SecretCipher([make_key()]), clock)


def read(cache: calls.AdmissionCache, handler: str, version: int = 1) -> None:
    cache.read(("s", handler), EvaluationNeeded(options={"debounce": version}, version=version))


def test_options_are_dropped_by_the_first_call_after_twenty_minutes_whosever_it_is(
    cache: calls.AdmissionCache, clock: FakeClock
) -> None:
    read(cache, "idle")
    clock.now += AGE_S - 1
    assert cache.recall(("s", "idle"))
    read(cache, "busy")
    clock.now += 1
    assert cache.recall(("s", "busy"))
    assert "idle" not in repr(vars(cache))
    clock.now += AGE_S * 100
    assert cache.recall(("s", "busy")) is None


def test_options_that_changed_count_as_new(cache: calls.AdmissionCache, clock: FakeClock) -> None:
    read(cache, "changed")
    read(cache, "other")
    clock.now += AGE_S / 2
    read(cache, "changed", version=2)
    clock.now += AGE_S / 2
    remembered = cache.recall(("s", "changed"))
    assert remembered
    assert remembered[1] == 2
    assert cache.recall(("s", "other")) is None


def test_the_oldest_are_dropped_beyond_the_limit(cache: calls.AdmissionCache) -> None:
    handlers = [f"handler {number}" for number in range(3_000)]
    for handler in handlers:
        read(cache, handler)
    remembered = [handler for handler in handlers if cache.recall(("s", handler))]
    assert remembered == handlers[-len(remembered) :]
    assert 1_000 < len(remembered) < len(handlers)


@pytest.mark.parametrize(
    ("options", "is_plain"),
    [
        ({"verify": {"preset": "token", "secrets": ["s3cret"]}}, True),
        ({"allow_from": ["192.0.2.0/24"], "filter": "body.a", "show_log": True}, True),
        ({"debounce": 5}, False),
        ({"rate_limit": "5/minute"}, False),
        ({"max_containers": 3}, False),
        ({"skip_unchanged": False}, False),
        ({"rollback_hold": False}, False),
    ],
)
def test_options_are_plain_if_they_only_decide_on_admission(options: dict[str, object], is_plain: bool) -> None:
    cipher = SecretCipher([make_key()])
    stored = write_stored(parse_options(options, NOW), cipher)
    cache = calls.AdmissionCache(cipher)
    cache.read(("s", "h"), EvaluationNeeded(options=stored, version=7))
    remembered = cache.recall(("s", "h"))
    assert remembered
    assert remembered.admitted
    assert (remembered.admitted.version, remembered.admitted.is_plain) == (7, is_plain)


@pytest.mark.parametrize("options", [{"enabled": False}, {"max_uses": 1}])
def test_options_of_a_closed_handler_are_parsed_once(
    cache: calls.AdmissionCache, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    parse = Mock(side_effect=read_stored)
    monkeypatch.setattr(calls, "read_stored", parse)
    for _ in range(3):
        with pytest.raises(ClosedError):
            cache.read_callable(("s", "h"), EvaluationNeeded(options=options, version=1, uses=1), "192.0.2.1", NOW)
    assert parse.call_count == 1
