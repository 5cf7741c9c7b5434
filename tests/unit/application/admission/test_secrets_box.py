"""Secrets at rest."""

import base64

import pytest

from tutumd.application.admission.encryption import SecretBox, make_key
from tutumd.errors import SettingsError


def test_what_is_sealed_can_be_opened_and_does_not_show_the_secret() -> None:
    box = SecretBox([make_key()])
    sealed = [box.seal("gräßlich secret") for _ in range(2)]
    assert sealed[0] != sealed[1]
    assert "secret" not in sealed[0]
    assert [box.open(text) for text in sealed] == ["gräßlich secret"] * 2


def test_another_key_says_what_to_do_without_the_secret() -> None:
    sealed = SecretBox([make_key()]).seal("hunter2")
    with pytest.raises(SettingsError, match="TUTUMD_SECRET_KEY") as caught:
        SecretBox([make_key()]).open(sealed)
    assert "hunter2" not in str(caught.value)
    assert sealed not in str(caught.value)


@pytest.mark.parametrize(
    "change", [lambda text: text[:-4] + "AAA=", lambda text: "", lambda text: "ä", lambda text: text[1:]]
)
def test_what_was_changed_is_not_opened(change: object) -> None:
    assert callable(change)
    box = SecretBox([make_key()])
    with pytest.raises(SettingsError):
        box.open(change(box.seal("hunter2")))


@pytest.mark.parametrize("raw", [bytes(range(32)), b"\xfb\xff" * 16])
def test_a_key_in_either_alphabet_of_base64_is_taken(raw: bytes) -> None:
    sealed = SecretBox([base64.b64encode(raw).decode()]).seal("x")
    assert SecretBox([base64.urlsafe_b64encode(raw).decode()]).open(sealed) == "x"


@pytest.mark.parametrize("key", ["", "short", "a" * 44, base64.b64encode(bytes(31)).decode(), "ä" * 44])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(SettingsError):
        SecretBox([key])


def test_no_key_is_refused() -> None:
    with pytest.raises(SettingsError):
        SecretBox([])
