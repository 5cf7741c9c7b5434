"""Secrets at rest."""

import base64

import pytest

from tutumd.application.admission.encryption import SecretCipher, make_key
from tutumd.errors import SettingsError


def test_what_is_sealed_can_be_opened_and_does_not_show_the_secret() -> None:
    cipher = SecretCipher([make_key()])
    sealed = [cipher.encrypt("gräßlich secret") for _ in range(2)]
    assert sealed[0] != sealed[1]
    assert "secret" not in sealed[0]
    assert [cipher.decrypt(text) for text in sealed] == ["gräßlich secret"] * 2


def test_another_key_says_what_to_do_without_the_secret() -> None:
    sealed = SecretCipher([make_key()]).encrypt("hunter2")
    with pytest.raises(SettingsError, match="TUTUMD_SECRET_KEY") as caught:
        SecretCipher([make_key()]).decrypt(sealed)
    assert "hunter2" not in str(caught.value)
    assert sealed not in str(caught.value)


@pytest.mark.parametrize(
    "change", [lambda text: text[:-4] + "AAA=", lambda text: "", lambda text: "ä", lambda text: text[1:]]
)
def test_what_was_changed_is_not_opened(change: object) -> None:
    assert callable(change)
    cipher = SecretCipher([make_key()])
    with pytest.raises(SettingsError):
        cipher.decrypt(change(cipher.encrypt("hunter2")))


@pytest.mark.parametrize("raw", [bytes(range(32)), b"\xfb\xff" * 16])
def test_a_key_in_either_alphabet_of_base64_is_taken(raw: bytes) -> None:
    sealed = SecretCipher([base64.b64encode(raw).decode()]).encrypt("x")
    assert SecretCipher([base64.urlsafe_b64encode(raw).decode()]).decrypt(sealed) == "x"


@pytest.mark.parametrize("key", ["", "short", "a" * 44, base64.b64encode(bytes(31)).decode(), "ä" * 44])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(SettingsError):
        SecretCipher([key])


def test_no_key_is_refused() -> None:
    with pytest.raises(SettingsError):
        SecretCipher([])
