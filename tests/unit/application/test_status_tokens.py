"""Tokens by which the caller of a handler asks for the outcome."""

import pytest

from tutumd.application.calls import StatusTokens
from tutumd.errors import NotFoundError
from tutumd.model import Reference

TOKENS = StatusTokens(b"k" * 32)


CALL = Reference(7, 42, 2**40, 100)


def test_a_token_names_its_call() -> None:
    assert TOKENS.read(TOKENS.make(CALL)) == CALL
    assert TOKENS.make(CALL) != TOKENS.make(CALL._replace(before=0))


def test_a_token_of_another_server_names_nothing() -> None:
    with pytest.raises(NotFoundError):
        TOKENS.read(StatusTokens(b"o" * 32).make(CALL))


@pytest.mark.parametrize("position", [0, 8, 16, -1])
def test_a_token_that_was_changed_names_nothing(position: int) -> None:
    changed = bytearray.fromhex(TOKENS.make(CALL))
    changed[position] ^= 1
    with pytest.raises(NotFoundError):
        TOKENS.read(changed.hex())


@pytest.mark.parametrize("text", ["", "x", "00", "é"])
def test_what_is_no_token_names_nothing(text: str) -> None:
    with pytest.raises(NotFoundError):
        TOKENS.read(text)
