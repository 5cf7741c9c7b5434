"""Issuers that handlers may name, and claims that bind an identity."""

from collections.abc import Mapping

import pytest

from tutumd.application.admission.identity import IssuerKind, check_issuer, read_issuers
from tutumd.application.admission.verify import Verification
from tutumd.errors import InvalidInputError, SettingsError
from tutumd.settings import read_settings

GITHUB, GITLAB = "https://token.actions.githubusercontent.com", "https://gitlab.com"
FORGEJO, OTHER = "https://git.example.com/api/actions", "https://id.example.com/"
ALLOWED = {
    GITHUB: IssuerKind.GITHUB,
    GITLAB: IssuerKind.GITLAB,
    FORGEJO: IssuerKind.FORGEJO,
    OTHER: IssuerKind.OTHER,
}


def _check(issuer: str, claims: Mapping[str, tuple[str, ...]]) -> None:
    check_issuer(Verification(preset="oidc", secrets=(), issuer=issuer, claims=claims), ALLOWED)


@pytest.mark.parametrize(
    ("issuer", "claims"),
    [
        (GITHUB, {"repository": ("me/shop",)}),
        (GITHUB, {"repository": ("me/*", "you/shop-*"), "ref": ("refs/heads/*",)}),
        (GITHUB, {"repository_owner_id": ("42",), "repository": ("*",)}),
        (GITHUB, {"repository_id": ("7",), "sub": ("repo:me/shop:ref:refs/heads/main",)}),
        (FORGEJO, {"repository_id": ("7",)}),
        (GITLAB, {"project_path": ("group/sub/*",)}),
        (GITLAB, {"project_id": ("7",)}),
        (OTHER, {"sub": ("robot-*",)}),
    ],
)
def test_claims_that_name_somebody_bind_an_identity(issuer: str, claims: Mapping[str, tuple[str, ...]]) -> None:
    _check(issuer, claims)


@pytest.mark.parametrize(
    ("issuer", "claims", "expected"),
    [
        (
            "https://evil.example",
            {"sub": ("me",)},
            f"{GITHUB}, {GITLAB}, {FORGEJO}, {OTHER}; got 'https://evil.example'",
        ),
        (GITHUB, {}, "repository or repository_id or repository_owner_id"),
        (GITHUB, {"sub": ("repo:me/shop",)}, "repository or repository_id or repository_owner_id"),
        (GITHUB, {"sub": ("repo:me/*",), "repository": ("me/shop",)}, "changed the format of `sub` in 2026"),
        (GITHUB, {"repository": ("*",)}, "must bind"),
        (GITHUB, {"repository": ("me/shop", "**")}, "must bind"),
        (GITHUB, {"repository": ("*/shop",)}, "must bind"),  # anyone can have a repository `shop`
        (GITHUB, {"repository": ("me*",)}, "must bind"),  # mean/shop
        (GITHUB, {"repository_id": ("7*",)}, "must bind"),
        (FORGEJO, {"actor": ("me",)}, "must bind"),
        (GITLAB, {"repository": ("me/shop",)}, "project_path or project_id"),
        (GITLAB, {"project_path": ("?*",)}, "must bind"),
        (OTHER, {"repository": ("me/shop",)}, "by sub"),
        (OTHER, {"sub": ("[a-z]*",)}, "must bind"),
    ],
)
def test_claims_that_name_nobody_are_refused(issuer: str, claims: Mapping[str, tuple[str, ...]], expected: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        _check(issuer, claims)
    assert expected in str(caught.value)
    assert caught.value.field == "verify"


def test_other_presets_need_no_issuer() -> None:
    check_issuer(None, {})
    check_issuer(Verification(preset="github", secrets=("s",)), {})


def test_the_setting_lists_the_allowed_issuers() -> None:
    assert read_issuers(read_settings({}).oidc_issuer) == {GITHUB: IssuerKind.GITHUB, GITLAB: IssuerKind.GITLAB}
    own = read_settings({"oidc_issuer": f"forgejo={FORGEJO}, other={OTHER}"})
    assert read_issuers(own.oidc_issuer) == {FORGEJO: IssuerKind.FORGEJO, OTHER: IssuerKind.OTHER}


@pytest.mark.parametrize(
    "text",
    [GITHUB, "gitea=https://a.example", "other=a.example", "other=https://a.example?b=c", "other=ftp://a.example"],
)
def test_a_wrong_issuer_is_named(text: str) -> None:
    with pytest.raises(SettingsError, match=r"--oidc-issuer: must be like github=https://token"):
        read_settings({"oidc_issuer": [text]})
