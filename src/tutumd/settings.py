"""The server's settings: options of the command line, then `TUTUMD_…` variables, then defaults."""

import difflib
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, IPvAnyNetwork, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tutumd.errors import SettingsError
from tutumd.model import RunLimits

PREFIX = "TUTUMD_"
FILE_SUFFIX = "_FILE"
_MAX_FILE_BYTES = 64 * 1024
_DEFAULT_PORT = 8000

# Kubernetes and Docker links inject such variables into each container beside a service named `tutumd`.
_INJECTED = re.compile(r"TUTUMD_(SERVICE_(HOST|PORT\w*)|PORT_\d+_\w+|NAME|ENV_\w+)")
_INJECTED_PORT = re.compile(r"\w+://.*")
# RFC 6750: what a client can send as a bearer token.
_TOKEN = re.compile(r"([A-Za-z0-9._~+/=-]{16,})?")
_USER_HEADER = re.compile(r"(?!(?i:authorization|cookie|host|forwarded|x-forwarded-(for|host|proto))$)[A-Za-z0-9-]*")
_HOST = re.compile(r"[\w.:%-]+")
_NAMESPACE = re.compile(r"\*|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_POSTGRES_URL = re.compile(r"(postgres(ql)?://\S+)?")
_PUBLIC_URL = re.compile(
    r"((?!.*/api/v1/?$)https?://(\[[0-9A-Fa-f:.]+\]|\w[\w-]*(\.\w[\w-]*)*\.?)(:(6[0-5]|[1-5]?[0-9])?[0-9]{1,3})?"
    r"(/(?!\.\.?(/|$))[A-Za-z0-9._~-]+)*/?)?"
)


def _ignore_injected_port(value: object) -> object:
    return _DEFAULT_PORT if isinstance(value, str) and _INJECTED_PORT.fullmatch(value) else value


def _split_at_commas(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _like(pattern: re.Pattern[str], wanted: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(wanted)
        return value

    return AfterValidator(check)


_List = (NoDecode, BeforeValidator(_split_at_commas))


class Settings(BaseSettings):
    """All settings of the server. Each field without an alias is also a variable: `port` is `TUTUMD_PORT`.

    A field with `repr=False` is a secret: no text shows it, and `TUTUMD_…_FILE` may name a file that holds it.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    host: Annotated[str, _like(_HOST, "must be an address or a host name")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535), BeforeValidator(_ignore_injected_port)] = _DEFAULT_PORT
    data_dir: Path = Path("data")
    database: str = Field("", repr=False)
    listen_url: Annotated[str, _like(_POSTGRES_URL, "must be postgresql://USER:PASSWORD@HOST/NAME")] = Field(
        "", repr=False
    )
    pool_size: int = Field(24, ge=2, le=1000)
    engine: Annotated[tuple[str, ...], *_List] = ("auto",)
    admin_user: str = ""
    admin_apikey: str = Field("", repr=False)
    secret_key: str = Field("", repr=False)
    worker_key_file: Path | None = None
    public_url: Annotated[
        str,
        _like(_PUBLIC_URL, "must be like https://hooks.example.com or https://example.com/hooks, without /api/v1"),
        AfterValidator(lambda url: url.rstrip("/")),
    ] = ""
    max_containers: int = Field(100, ge=1, le=10_000)
    grace: float = Field(30.0, ge=0, le=3600)
    stop_delay: float = Field(0.0, ge=0, le=300)
    keep_days: int = Field(90, ge=1, le=36500)
    keep_audit_days: int = Field(365, ge=1, le=36500)
    log_rows: int = Field(10_000, ge=10, le=10_000_000)
    log_bytes: int = Field(64 * 1024 * 1024, ge=1024 * 1024)
    max_keys: int = Field(1_000_000, ge=1)
    engine_slots: int = Field(16, ge=1, le=1000)
    max_runs: int = Field(64, ge=1, le=1000)
    redeploy_timeout: float = Field(3600.0, ge=1, allow_inf_nan=False)
    redeploy_stall: float = Field(120.0, ge=1, allow_inf_nan=False)
    redeploy_stable: float | None = Field(None, ge=0, le=99_999, allow_inf_nan=False)
    redeploy_drain: float | None = Field(None, ge=0, le=99_999, allow_inf_nan=False)
    pull_timeout: float = Field(1800.0, ge=1, allow_inf_nan=False)
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], *_List] = ()
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    access_log: bool = False
    metrics_token: Annotated[
        str, _like(_TOKEN, "must be 16 or more letters, digits and characters of -._~+/=, without spaces")
    ] = Field("", repr=False)
    metrics_allow_from: Annotated[tuple[IPvAnyNetwork, ...], *_List] = ()
    dashboard: bool = True
    dashboard_allow_from: Annotated[tuple[IPvAnyNetwork, ...], *_List] = ()
    user_header: Annotated[
        str, _like(_USER_HEADER, "must be the name of a header that a proxy sets, such as X-Forwarded-User")
    ] = ""
    demo: bool = False
    docker_host: str = Field("", validation_alias="DOCKER_HOST")
    docker_config: str = Field("", validation_alias="DOCKER_CONFIG")
    kubeconfig: str = Field("", validation_alias="KUBECONFIG")
    kubernetes_namespaces: Annotated[
        tuple[Annotated[str, _like(_NAMESPACE, "must be names of namespaces, separated by commas, or *")], ...], *_List
    ] = ()

    @property
    def run_limits(self) -> RunLimits:
        """The limits of a run, unless its service's labels say otherwise."""
        return RunLimits(
            timeout_s=self.redeploy_timeout,
            stall_s=self.redeploy_stall,
            pull_s=self.pull_timeout,
            stable_s=self.redeploy_stable,
            drain_s=self.redeploy_drain,
        )

    @property
    def database_url(self) -> str:
        """The database: as given, or a file in the data folder."""
        return self.database or f"sqlite:///{self.data_dir / 'tutumd.db'}"


SECRETS = tuple(name for name, field in Settings.model_fields.items() if not field.repr)
"""Settings that no text shows."""


def read_settings(options: Mapping[str, Any]) -> Settings:
    """Return the settings from options, the environment and the files that it names.

    Args:
        options: Those that are None or empty are not given.

    Raises:
        SettingsError: Values are wrong. For each, a line names the option, variable or file and what it must be.
    """
    given = {name: value for name, value in options.items() if value is not None and value != []}
    in_files = read_secret_files(options)
    try:
        return Settings(**{**given, **in_files})
    except ValidationError as error:
        problems = dict.fromkeys(_describe(problem, given, in_files) for problem in error.errors(include_url=False))
        raise SettingsError("\n".join(problems)) from None


def _describe(problem: Mapping[str, Any], given: Mapping[str, Any], in_files: Mapping[str, str]) -> str:
    field = str(problem["loc"][0])
    variable = f"{PREFIX}{field.upper()}{FILE_SUFFIX if field in in_files else ''}"
    source = f"--{field.replace('_', '-')}" if field in given else variable
    message = "must be on or off" if problem["type"] == "bool_parsing" else problem["msg"]
    wanted = re.sub("^(Input should be|value is not)", "must be", message.removeprefix("Value error, "))
    got = f"got {problem['input']!r}" if Settings.model_fields[field].repr else "got something else"
    return f"{source}: {wanted.partition(', unable to parse')[0]}, {got}"


def read_secret_files(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the secrets that are in files, each of which a variable `TUTUMD_…_FILE` names.

    Args:
        options: Those that are not None win, and their files are not read.

    Raises:
        SettingsError: Secrets are also in their own variables, or their files cannot be used. Each has a line.
    """
    secrets, problems = {}, []
    for name in SECRETS:
        variable = f"{PREFIX}{name.upper()}"
        path = os.environ.get(f"{variable}{FILE_SUFFIX}")
        if not path or options.get(name) is not None:
            continue
        if os.environ.get(variable):
            problems.append(f"{variable} and {variable}{FILE_SUFFIX} are both set: unset one of them")
            continue
        try:
            secrets[name] = _read_line(Path(path))
        except OSError as error:
            fault = f"cannot be read: {error.strerror}; name a file that this user can read"
            problems.append(f"{variable}{FILE_SUFFIX}: {path} {fault}")
        except ValueError as error:
            problems.append(f"{variable}{FILE_SUFFIX}: {path} {error}")
    if problems:
        raise SettingsError("\n".join(problems))
    return secrets


def _read_line(path: Path) -> str:
    """Return the one line of a file. Raises ValueError, without the content, if there is none or more than one."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise ValueError("is a folder, which Docker makes where the file of a mount is missing: name a file")
    if not stat.S_ISREG(mode):  # reading a pipe may never end
        raise ValueError("must be a regular file")
    with path.open("rb") as file:
        content = file.read(_MAX_FILE_BYTES)
    try:
        line = content.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError("must be a text file in UTF-8") from None
    if not line.strip():
        raise ValueError("is empty: write the value into it, on one line")
    if "\n" in line or len(content) == _MAX_FILE_BYTES:
        raise ValueError("must hold the value alone, on one line")
    return line


def environment_warnings(variables: Iterable[str]) -> list[str]:
    """Return a warning for each `TUTUMD_…` name among `variables` that is not a setting."""
    known = {f"{PREFIX}{name.upper()}" for name, field in Settings.model_fields.items() if not field.validation_alias}
    known |= {f"{PREFIX}{name.upper()}{FILE_SUFFIX}" for name in SECRETS}
    warnings = []
    for name in sorted(variables):
        if not name.startswith(PREFIX) or name in known or _INJECTED.fullmatch(name):
            continue
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        remedy = f"did you mean {nearest[0]}?" if nearest else "see docs/reference/settings.md"
        warnings.append(f"{name} is not a setting and is ignored: {remedy}")
    return warnings
