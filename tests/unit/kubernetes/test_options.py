"""The options and variables of the engine `kubernetes`."""

import pytest

from tutumd.errors import SettingsError
from tutumd.main.engines import Spec, parse_specs
from tutumd.settings import read_settings

ARN = "arn:aws:eks:eu-west-1:123456789012:cluster/prod"


@pytest.mark.parametrize(
    ("text", "name", "context"),
    [
        ("kubernetes", "kubernetes", None),
        ("kubernetes:admin@prod", "kubernetes", "admin@prod"),
        ("prod=kubernetes", "prod", None),
        (f"prod=kubernetes:{ARN}", "prod", ARN),
        ("prod=kubernetes:a=b", "prod", "a=b"),
    ],
)
def test_a_context_may_be_named(text: str, name: str, context: str | None) -> None:
    assert parse_specs([text]) == (Spec(name=name, kind="kubernetes", url=context),)


@pytest.mark.parametrize(
    ("variables", "kubeconfig", "namespaces"),
    [
        ({}, "", ()),
        ({"KUBECONFIG": "a:b", "TUTUMD_KUBERNETES_NAMESPACES": "shop, web"}, "a:b", ("shop", "web")),
        ({"TUTUMD_KUBERNETES_NAMESPACES": "*"}, "", ("*",)),
    ],
)
def test_variables_are_read(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], kubeconfig: str, namespaces: tuple[str, ...]
) -> None:
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    settings = read_settings({})
    assert (settings.kubeconfig, settings.kubernetes_namespaces) == (kubeconfig, namespaces)


@pytest.mark.parametrize("value", ["Shop", "shop;web", "**", "-shop"])
def test_names_that_no_namespace_has_are_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TUTUMD_KUBERNETES_NAMESPACES", value)
    with pytest.raises(SettingsError, match=r"TUTUMD_KUBERNETES_NAMESPACES: must be names of namespaces"):
        read_settings({})
