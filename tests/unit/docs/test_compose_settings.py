"""`deploy/compose/.env.example` names what `compose.yaml` reads, and what it sets itself."""

import re
from pathlib import Path

import yaml

from tutumd.settings import environment_warnings

FOLDER = Path(__file__).parents[3] / "deploy" / "compose"


def test_every_variable_of_the_compose_file_is_in_the_example() -> None:
    compose, example = ((FOLDER / name).read_text(encoding="utf-8") for name in ("compose.yaml", ".env.example"))
    read = set(re.findall(r"\$\{(\w+)", compose))
    assert read <= set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE))
    environments = (service.get("environment", {}) for service in yaml.safe_load(compose)["services"].values())
    own = {name for environment in environments for name in environment if name.startswith("TUTUMD_")} - read
    named = set(re.findall(r"\bTUTUMD_[A-Z_]+", example))
    assert own <= named
    assert environment_warnings(named) == []
