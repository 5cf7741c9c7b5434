"""Replacements of containers: whatever a person configured stays, and a second replacement changes nothing."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.budget import budget
from tests.unit.docker.documents import container, image
from tutumd.engines.docker.plan.config import replacement_config, with_variables
from tutumd.engines.rollout.journal import restore_variables, store_variables

NAME = st.sampled_from(["A", "B", "PATH", "TZ"])
WORD = st.sampled_from(["x", "y", ""])
ENVIRONMENT = st.dictionaries(NAME, WORD, max_size=3).map(lambda found: [f"{name}={found[name]}" for name in found])
MAP = st.dictionaries(st.sampled_from(["a", "b"]), WORD, max_size=2)
COMMAND = st.none() | st.lists(st.sampled_from(["run", "stop"]), min_size=1, max_size=2)
CONFIG = st.fixed_dictionaries(
    {},
    optional={
        "Env": ENVIRONMENT, "Labels": MAP, "Cmd": COMMAND, "Entrypoint": COMMAND, "User": WORD, "WorkingDir": WORD,
        "ExposedPorts": st.dictionaries(st.sampled_from(["80/tcp", "53/udp"]), st.just({}), max_size=2),
        "Healthcheck": st.fixed_dictionaries({"Test": st.just(["CMD"])}, optional={"Interval": st.integers(1, 3)}),
    },
)  # fmt: skip
HOST = st.fixed_dictionaries(
    {"NetworkMode": st.sampled_from(["bridge", "front"])},
    optional={
        "PortBindings": st.just({"80/tcp": [{"HostPort": "8080"}]}), "Memory": st.integers(0, 2),
        "CapAdd": st.just(["X"]),
        "Binds": st.just(["/srv:/srv:ro"]), "RestartPolicy": st.just({"Name": "always"}), "Privileged": st.booleans(),
        "ContainerIDFile": st.just("/tmp/id"), "Annotations": MAP, "UnknownField": st.integers(),
    },
)  # fmt: skip


def name_of(entry: str) -> str:
    return entry.partition("=")[0]


def merged(asked: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Return the Config that the engine shows of a container: what was asked for over what its image has.

    Docker Engine, daemon/commit.go `merge`.
    """
    shown = dict(asked)
    own = list(asked.get("Env") or ())
    names = {name_of(entry) for entry in own}
    shown["Env"] = own + [entry for entry in defaults.get("Env") or () if name_of(entry) not in names]
    for field in ("Labels", "ExposedPorts"):
        shown[field] = (defaults.get(field) or {}) | (asked.get(field) or {})
    if not asked.get("Entrypoint"):
        shown["Cmd"] = asked.get("Cmd") or defaults.get("Cmd")
        shown["Entrypoint"] = defaults.get("Entrypoint")
    if asked.get("Entrypoint") == [""]:
        shown["Entrypoint"], shown["Cmd"] = None, asked.get("Cmd")
    for field in ("User", "WorkingDir"):
        shown[field] = asked.get(field) or defaults.get(field) or ""
    check = {**(defaults.get("Healthcheck") or {}), **(asked.get("Healthcheck") or {})}
    return {**{k: v for k, v in shown.items() if k != "Healthcheck"}, **({"Healthcheck": check} if check else {})}


@budget(150)
@given(CONFIG, CONFIG, CONFIG, HOST)
def test_a_replacement_keeps_what_a_person_configured(
    asked: dict[str, Any], old: dict[str, Any], new: dict[str, Any], host: dict[str, Any]
) -> None:
    before = container(config=merged(asked, old), host=host)
    # The same image: the container is what it was.
    same = replacement_config(before, image(**old), image(**old), {})
    again = merged({k: v for k, v in same.items() if k in asked or k in ("Env", "Cmd", "Entrypoint")}, old)
    shown = merged(asked, old)
    assert sorted(again["Env"]) == sorted(shown["Env"])
    for field in ("Labels", "User", "WorkingDir"):
        assert again.get(field) == shown.get(field)
    # Another image: all that the old image had not is still asked for, and nothing of the host configuration is lost.
    body = replacement_config(before, image(**old), image(0xB0, **new), {})
    own = [entry for entry in asked.get("Env") or () if entry not in (old.get("Env") or ())]
    assert [entry for entry in own if entry not in body["Env"]] == []
    for field in ("Labels", "ExposedPorts"):
        kept = {k: v for k, v in (asked.get(field) or {}).items() if (old.get(field) or {}).get(k, object()) != v}
        assert kept.items() <= body[field].items()
    lost = [field for field in host if field != "ContainerIDFile" and body["HostConfig"].get(field) != host[field]]
    assert lost == []
    # A third one like the second changes nothing more.
    after = container(config=merged(body, new), host=body["HostConfig"])
    third = replacement_config(after, image(0xB0, **new), image(0xB0, **new), {})
    assert sorted(merged(third, new)["Env"]) == sorted(merged(body, new)["Env"])
    assert third["HostConfig"] == body["HostConfig"]


VARIABLES = st.dictionaries(NAME, st.none() | WORD, max_size=3)


@budget(150)
@given(ENVIRONMENT, VARIABLES)
def test_variables_of_a_call_touch_no_others_and_can_be_restored(
    environment: list[str], variables: dict[str, str | None]
) -> None:
    body = with_variables({"Env": environment}, variables)
    assert with_variables(body, variables) == body or not variables
    found = dict(entry.split("=", 1) for entry in body["Env"])
    before = dict(entry.split("=", 1) for entry in environment)
    assert found == {k: v for k, v in (before | variables).items() if v is not None}

    stored = store_variables({"Env": environment}, "Env", variables.keys())
    restore_variables(body, "Env", stored, variables.keys())
    assert body.get("Env", []) == environment
