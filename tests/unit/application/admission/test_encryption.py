"""Secrets at rest."""

import base64

import pytest

from tutumd.application.admission.encryption import SecretCipher, make_key
from tutumd.errors import SettingsError


def test_an_encrypted_secret_can_be_decrypted_and_is_not_readable() -> None:
    cipher = SecretCipher([make_key()])
    encrypted = [cipher.encrypt("gräßlich secret") for _ in range(2)]
    assert encrypted[0] != encrypted[1]
    assert "secret" not in encrypted[0]
    assert [cipher.decrypt(text) for text in encrypted] == ["gräßlich secret"] * 2


def test_another_key_says_what_to_do_without_the_secret() -> None:
    encrypted = SecretCipher([make_key()]).encrypt("hunter2")
    with pytest.raises(SettingsError, match="TUTUMD_SECRET_KEY") as caught:
        SecretCipher([make_key()]).decrypt(encrypted)
    assert "hunter2" not in str(caught.value)
    assert encrypted not in str(caught.value)


@pytest.mark.parametrize(
    "change", [lambda text: text[:-4] + "AAA=", lambda text: "", lambda text: "ä", lambda text: text[1:]]
)
def test_what_was_changed_is_not_opened(change: object) -> None:
    assert callable(change)
    cipher = SecretCipher([make_key()])
    with pytest.raises(SettingsError):
        cipher.decrypt(change(cipher.encrypt("hunter2")))


@pytest.mark.parametrize("raw", [bytes(range(32)), b"\xfb\xff" * 16])
def test_a_key_in_either_alphabet_of_base64_is_accepted(raw: bytes) -> None:
    encrypted = SecretCipher([base64.b64encode(raw).decode()]).encrypt("x")
    assert SecretCipher([base64.urlsafe_b64encode(raw).decode()]).decrypt(encrypted) == "x"


@pytest.mark.parametrize("keys", [[], [""], ["short"], ["a" * 44], [base64.b64encode(bytes(31)).decode()], ["ä" * 44]])
def test_an_invalid_key_or_none_is_refused(keys: list[str]) -> None:
    with pytest.raises(SettingsError):
        SecretCipher(keys)
