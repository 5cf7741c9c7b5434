"""What the code imports is declared in the extra that needs it, and has its line in the ADR."""

import ast
import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DISTRIBUTIONS = {
    "yaml": "pyyaml",
    "jwt": "pyjwt",
    "pydantic_settings": "pydantic-settings",
    "fastapi_swagger": "fastapi-swagger",
    "prometheus_client": "prometheus-client",
}
"""Names of distributions that differ from those of their modules."""
INDIRECT = {"uvloop", "httptools", "fastapi-swagger", "tzdata"}
"""Used without an import: by uvicorn, by `zoneinfo`, and as files."""
EXTRAS = {
    "src/tutum": ["base"],
    "src/tutumd": ["base", "server"],
    "src/tutumd/store": ["base", "server", "postgres"],
    "src/tutumd/engines/kubernetes": ["base", "server", "kubernetes"],
    "src/tutumd/notifier": ["base", "server", "notify"],
}


def declared(extra: str) -> set[str]:
    requirements = PROJECT["dependencies"] if extra == "base" else PROJECT["optional-dependencies"][extra]
    names = {re.split(r"[\[<>=;]", requirement)[0].strip() for requirement in requirements}
    return names - {"tutumd"}


@cache
def imported(folder: str) -> set[str]:
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        if any(other != folder and path.is_relative_to(ROOT / other) and len(other) > len(folder) for other in EXTRAS):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {each.name.partition(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return {DISTRIBUTIONS.get(name, name) for name in found - set(sys.stdlib_module_names) - {"tutum", "tutumd"}}


def test_every_import_is_declared_where_it_is_used() -> None:
    undeclared = {folder: imported(folder) - set().union(*map(declared, extras)) for folder, extras in EXTRAS.items()}
    assert not any(undeclared.values()), undeclared


def test_what_is_declared_is_used_and_explained() -> None:
    everything = set().union(*map(declared, ["base", "server", "postgres", "kubernetes", "notify"]))
    assert everything - set().union(*map(imported, EXTRAS)) == INDIRECT
    lines = (ROOT / "docs" / "adr" / "0004-dependencies.md").read_text().splitlines()
    named = " ".join(line.split("|")[1] for line in lines if line.startswith("|"))
    assert {name for name in everything if not re.search(rf"\b{re.escape(name)}\b", named)} == set()


LOCKS = {
    "all": ["base", "server", "postgres", "kubernetes", "notify"],
    "server": ["base", "server"],
    "postgres": ["base", "server", "postgres"],
    "kubernetes": ["base", "server", "kubernetes"],
    "notify": ["base", "server", "notify"],
    "dev": ["base", "server", "postgres", "kubernetes", "notify"],
}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_what_is_declared_for_its_extra_and_nothing_else(lock: str) -> None:
    blocks = re.findall(
        r"^([a-z0-9-]+)(?:\[.*?\])?==.*?# via(.*?)(?=^[a-z0-9]|\Z)", lock_text(lock), re.MULTILINE | re.DOTALL
    )
    direct = {name for name, via in blocks if "tutumd (pyproject.toml)" in via}
    assert direct == set().union(*map(declared, LOCKS[lock]))


@pytest.mark.parametrize("lock", [*LOCKS, "build"])
def test_a_lock_has_hashes_and_no_index(lock: str) -> None:
    text = lock_text(lock)
    hashed = re.findall(r"^[a-z0-9-]+.*\\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)
    assert len(hashed) == len(pins(text)) > 0
    assert not re.search(r"://|^--(?!hash)", text, re.MULTILINE)


@pytest.mark.parametrize("lock", ["all", "server", "postgres", "kubernetes", "notify", "build"])
def test_the_tests_run_the_versions_that_users_run(lock: str) -> None:
    assert set(pins(lock_text(lock))) <= set(pins(lock_text("dev")))


def lock_text(lock: str) -> str:
    return (ROOT / "requirements" / f"{lock}.lock").read_text()


def pins(text: str) -> list[tuple[str, str]]:
    return list(re.findall(r"^([a-z0-9-]+)(?:\[.*?\])?==(\S+)", text, re.MULTILINE))
