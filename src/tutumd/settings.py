"""All settings in one frozen object. Each option of `tutumd serve` is also a variable `TUTUMD_…`."""

import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tutumd.errors import SettingsError

PREFIX = "TUTUMD_"

# Kubernetes and links of Docker put such variables into every container beside a service named `tutumd`.
_INJECTED_NAME = re.compile(r"TUTUMD_(SERVICE_(HOST|PORT\w*)|PORT_\d+_\w+|PORT|NAME|ENV_\w+)")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_INJECTED_VALUE = re.compile(r"\w+://.*")


class Settings(BaseModel):
    """What the server was told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    data_dir: Path = Path("data")
    database: str = ""
    engine: tuple[str, ...] = ("auto",)
    admin_user: str = ""
    admin_apikey: str = Field("", repr=False)
    client_rate_limit: str = ""
    secret_key: str = Field("", repr=False)
    public_url: str = ""
    max_containers: int = Field(100, ge=1, le=10_000)
    grace: float = Field(30.0, ge=0, le=3600)
    keep_days: int = Field(90, ge=1, le=36500)
    trusted_proxies: tuple[str, ...] = ()
    demo: bool = False
    docker_host: str = ""
    docker_config: str = ""
    kubeconfig: str = ""
    kubernetes_namespaces: tuple[str, ...] = ()

    @field_validator("engine", "trusted_proxies", "kubernetes_namespaces", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """In a variable, several values are separated by commas."""
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ip_network(network)
        return value

    @field_validator("kubernetes_namespaces")
    @classmethod
    def _namespaces(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name != "*" and not _NAMESPACE.fullmatch(name):
                raise ValueError("must be names of namespaces, separated by commas, or *")
        return value

    @field_validator("public_url")
    @classmethod
    def _without_slash(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", value):
            raise ValueError("must be like https://hooks.example.com")
        return value.rstrip("/")

    @property
    def database_url(self) -> str:
        """The database: as given, or a file in the data folder."""
        return self.database or f"sqlite:///{self.data_dir / 'tutumd.db'}"


def read_settings(environment: Mapping[str, str], options: Mapping[str, Any]) -> tuple[Settings, list[str]]:
    """Read the settings: options of the command line before variables. Answers warnings with them.

    Raises:
        SettingsError: A value is wrong; says which and why.
    """
    given = {name: value for name, value in options.items() if value is not None and value != () and value != []}
    injected = [name for name, value in environment.items() if _is_injected(name, value)]
    variables = {name: value for name, value in environment.items() if name not in injected}
    known = {variable for variable in _variables().values() if variable.startswith(PREFIX)}
    warnings = [
        f"{name} is not a setting of tutumd and was ignored: known are {', '.join(sorted(known))}"
        for name in sorted(variables)
        if name.startswith(PREFIX) and name not in known
    ]
    values = {name: variables[variable] for name, variable in _variables().items() if variables.get(variable)}
    try:
        return Settings(**{**values, **given}), warnings
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = str(problem["loc"][0]) if problem["loc"] else "settings"
        raise SettingsError(
            f"--{name.replace('_', '-')} (or {PREFIX}{name.upper()}): {problem['msg']}, got {problem.get('input')!r}"
        ) from None


def _is_injected(name: str, value: str) -> bool:
    if not _INJECTED_NAME.fullmatch(name):
        return False
    return name != f"{PREFIX}PORT" or bool(_INJECTED_VALUE.fullmatch(value))


def _variables() -> dict[str, str]:
    foreign = {"docker_host": "DOCKER_HOST", "docker_config": "DOCKER_CONFIG", "kubeconfig": "KUBECONFIG"}
    return {name: foreign.get(name, f"{PREFIX}{name.upper()}") for name in Settings.model_fields}
