"""The server's settings: options of the command line, then `TUTUMD_…` variables, then defaults."""

import difflib
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, IPvAnyNetwork, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tutumd.errors import SettingsError
from tutumd.model import RunLimits

PREFIX = "TUTUMD_"
FILE_SUFFIX = "_FILE"
_DEFAULT_PORT = 8000

# Kubernetes and Docker links add such variables to each container beside a service named `tutumd`.
_INJECTED = re.compile(r"TUTUMD_(SERVICE_(HOST|PORT\w*)|PORT_\d+_\w+|NAME|ENV_\w+)")
# RFC 6750: characters of a bearer token.
_TOKEN = re.compile(r"([A-Za-z0-9._~+/=-]{16,})?")
_USER_HEADER = re.compile(r"(?!(?i:authorization|cookie|host|forwarded|x-forwarded-(for|host|proto))$)[A-Za-z0-9-]*")
_HOST = re.compile(r"[\w.:%-]+")
_NAMESPACE = re.compile(r"\*|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_POSTGRES_URL = re.compile(r"(postgres(ql)?://\S+)?")
# RFC 8414, section 2: an issuer has no query and no fragment. Its URL is compared with `iss` as text.
_ISSUER = re.compile(r"(github|gitlab|forgejo|other)=(?=.{1,255}$)https?://[\w.:\[\]-]+(/[\w.~/-]*)?", re.ASCII)
_PUBLIC_URL = re.compile(
    r"((?!.*/api/v1/?$)https?://(\[[0-9A-Fa-f:.]+\]|\w[\w-]*(\.\w[\w-]*)*\.?)(:(6[0-5]|[1-5]?[0-9])?[0-9]{1,3})?"
    r"(/(?!\.\.?(/|$))[A-Za-z0-9._~-]+)*/?)?"
)


def _ignore_injected_port(value: object) -> object:
    return _DEFAULT_PORT if isinstance(value, str) and "://" in value else value


def _split_at_commas(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _like(pattern: re.Pattern[str], wanted: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(wanted)
        return value

    return AfterValidator(check)


def _setting(default: Any, text: str, commands: str = "", *, shown: str = "", **limits: Any) -> Any:
    """Describe a setting: its option, `tutumd COMMAND --help` and the table of docs/reference/settings.md.

    Args:
        text: A sentence in Markdown.
        commands: Those of `serve`, `web`, `worker` and `notifier` that have an option for it.
        shown: The default in Markdown, if the value does not express it.
        limits: As in pydantic's `Field`.
    """
    return Field(default, description=text, json_schema_extra={"commands": commands, "shown": shown}, **limits)


_ALL, _EDGE, _WORK = "serve web worker", "serve web", "serve worker"
_EACH, _NOTIFY = f"{_ALL} notifier", f"{_EDGE} notifier"
_List = (NoDecode, BeforeValidator(_split_at_commas))
_Networks = Annotated[tuple[IPvAnyNetwork, ...], *_List]


GROUPS = {
    "host": "Address",
    "data_dir": "Database",
    "engine": "Engines, keys and URLs",
    "max_containers": "Limits and shutdown",
    "keep_days": "Retention",
    "engine_slots": "Actions",
    "trusted_proxies": "Proxies, logs and metrics",
    "dashboard": "Dashboard and notifications",
}
"""Groups of settings in `tutumd serve --help`, by the first setting of each."""


class Settings(BaseSettings):
    """All settings of the server. Each field without an alias is also a variable: `port` is `TUTUMD_PORT`.

    A new setting is a field here: options, variables, help and reference follow (`script/generate`).

    A field with `repr=False` is a secret: no text shows it, and `TUTUMD_…_FILE` may name a file with its value.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    host: Annotated[str, _like(_HOST, "must be an address or a host name")] = _setting(
        "127.0.0.1", "Address to listen on.", _EDGE
    )
    port: Annotated[int, BeforeValidator(_ignore_injected_port)] = _setting(
        _DEFAULT_PORT, "Port to listen on; 0 chooses a free port.", _EDGE, ge=0, le=65535
    )
    data_dir: Path = _setting(Path("data"), "Folder of the database and of local services.", _EACH)
    database: str = _setting(
        "",
        "`sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`.",
        _EACH,
        shown="a file in the data folder",
        repr=False,
    )
    listen_url: Annotated[str, _like(_POSTGRES_URL, "must be postgresql://USER:PASSWORD@HOST/NAME")] = _setting(
        "", "URL of the same PostgreSQL database without the pooler.", _EACH, shown="as `--database`", repr=False
    )
    pool_size: int = _setting(24, "Maximum number of connections of this process to the database.", _ALL, ge=2, le=1000)
    engine: Annotated[tuple[str, ...], *_List] = _setting(
        ("auto",),
        "`local`, `docker`, `swarm`, `kubernetes`, `auto`, `NAME=docker:URL` or `NAME=kubernetes:CONTEXT`.",
        _WORK,
    )
    admin_user: str = _setting("", "Name of the first admin, created at the first start.", _EDGE, shown="`admin`")
    admin_apikey: str = _setting(
        "", "API key of the first admin, 20 or more characters.", shown="generated and shown once", repr=False
    )
    secret_key: str = _setting(
        "",
        "Key that encrypts stored secrets: 32 bytes in base64.",
        shown="`secret.key` in the data folder, created at the first start",
        repr=False,
    )
    worker_key_file: Path | None = _setting(
        None, "File with the key that signs the saved state of workers.", _WORK, shown="`worker.key` in the data folder"
    )
    public_url: Annotated[
        str,
        _like(_PUBLIC_URL, "must be like https://hooks.example.com or https://example.com/hooks, without /api/v1"),
        AfterValidator(lambda url: url.rstrip("/")),
    ] = _setting("", "Start of all URLs that the server hands out.", _NOTIFY)
    max_containers: int = _setting(100, "Maximum number of containers of a service.", _ALL, ge=1, le=10_000)
    grace: float = _setting(30.0, "Seconds that running actions have to finish after SIGTERM.", _EACH, ge=0, le=3600)
    stop_delay: float = _setting(
        0.0, "Seconds to keep taking calls after SIGTERM, while `/readyz` is 503.", _EDGE, ge=0, le=300
    )
    keep_days: int = _setting(90, "Days to keep deliveries, ended actions and gone containers.", _WORK, ge=1, le=36500)
    keep_audit_days: int = _setting(365, "Days to keep the audit log.", _WORK, ge=1, le=36500)
    log_rows: int = _setting(
        10_000, "Maximum number of a handler's deliveries that caused an action.", _WORK, ge=10, le=10_000_000
    )
    log_bytes: int = _setting(
        64 * 1024 * 1024, "Maximum size of a handler's deliveries in bytes.", _ALL, ge=1024 * 1024
    )
    max_keys: int = _setting(1_000_000, "Maximum number of keys of a handler's deliveries of two days.", _EDGE, ge=1)
    engine_slots: int = _setting(16, "Maximum number of simultaneous actions on one engine.", _WORK, ge=1, le=1000)
    max_runs: int = _setting(64, "Maximum number of simultaneous actions on all engines.", _WORK, ge=1, le=1000)
    redeploy_timeout: float = _setting(
        3600.0, "Maximum duration of an action in seconds, excluding pulls.", _WORK, ge=1, allow_inf_nan=False
    )
    redeploy_stall: float = _setting(
        120.0, "Maximum time without progress in seconds.", _WORK, ge=1, allow_inf_nan=False
    )
    redeploy_stable: float | None = _setting(
        None,
        "Seconds that a new container must run without a restart before it counts.",
        _WORK,
        shown="the engine's",
        ge=0,
        le=99_999,
        allow_inf_nan=False,
    )
    redeploy_drain: float | None = _setting(
        None,
        "Seconds that clients find the old container beside the new one.",
        _WORK,
        shown="the engine's",
        ge=0,
        le=99_999,
        allow_inf_nan=False,
    )
    pull_timeout: float = _setting(1800.0, "Maximum duration of a pull in seconds.", _WORK, ge=1, allow_inf_nan=False)
    trusted_proxies: _Networks = _setting((), "Networks whose `X-Forwarded-For` the server trusts.", _EDGE)
    log_format: Literal["text", "json"] = _setting(
        "text", "Format of the log on standard error: `text` for people, `json` for programs.", _EACH
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", "Lowest level to log: `debug`, `info`, `warning` or `error`.", _EACH
    )
    access_log: bool = _setting(False, "Log a line for each request, with its route and never its path.", _EDGE)
    metrics_token: Annotated[
        str, _like(_TOKEN, "must be 16 or more letters, digits and characters of -._~+/=, without spaces")
    ] = _setting("", "Bearer token for `/metrics`.", repr=False)
    metrics_allow_from: _Networks = _setting((), "Networks whose clients may read `/metrics` without a token.", _EDGE)
    dashboard: bool = _setting(True, "`on` or `off`: web pages beside the API.", _EDGE, shown="`on`")
    dashboard_allow_from: _Networks = _setting((), "Networks whose clients may open the dashboard.", _EDGE, shown="all")
    user_header: Annotated[
        str, _like(_USER_HEADER, "must be the name of a header that a proxy sets, such as X-Forwarded-User")
    ] = _setting("", "Header in which proxies of `--trusted-proxies` name the signed-in user.", _EDGE)
    notify_allow: _Networks = _setting(
        (), "Networks that are not public, or are reached without TLS, to which notifications may be sent.", _NOTIFY
    )
    oidc_issuer: Annotated[
        tuple[Annotated[str, _like(_ISSUER, "must be like github=https://token.actions.githubusercontent.com")], ...],
        *_List,
    ] = _setting(
        ("github=https://token.actions.githubusercontent.com", "gitlab=https://gitlab.com"),
        "`KIND=URL` of the issuers whose identity tokens handlers may accept. `KIND` is `github`, `gitlab`, `forgejo`"
        " or `other`.",
        _EDGE,
    )
    demo: bool = _setting(
        False,
        "Run a service `hello` with two handlers on the engine `local`. `auto` then finds no other engine.",
        "serve",
    )
    docker_host: str = _setting(
        "", "Engine of `docker` and `swarm`.", shown="the usual socket", validation_alias="DOCKER_HOST"
    )
    docker_config: str = _setting(
        "", "Folder of registry logins.", shown="`~/.docker`", validation_alias="DOCKER_CONFIG"
    )
    kubeconfig: str = _setting(
        "", "Cluster of `kubernetes`.", shown="`~/.kube/config`, else the pod's account", validation_alias="KUBECONFIG"
    )
    kubernetes_namespaces: Annotated[
        tuple[Annotated[str, _like(_NAMESPACE, "must be names of namespaces, separated by commas, or *")], ...], *_List
    ] = _setting(
        (),
        "Namespaces of `kubernetes`, separated by commas; `*` for all.",
        shown="the namespace of the context or account",
    )

    @property
    def run_limits(self) -> RunLimits:
        """The limits of a run, unless the labels of its service set others."""
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

    def as_values(self) -> SimpleNamespace:
        """Return the same settings for a process that does without pydantic, which takes 6 MB and 0.1 s to load."""
        names = *Settings.model_fields, "run_limits", "database_url"
        return SimpleNamespace(**{name: getattr(self, name) for name in names})


SECRETS = tuple(name for name, field in Settings.model_fields.items() if not field.repr)


Options = Mapping[str, Any]  # by the names of settings


def read_settings(options: Options) -> Settings:
    """Return the settings from options, the environment and the files that it names.

    Args:
        options: Options that are None or empty count as not given.

    Raises:
        SettingsError: Values are invalid. For each value, a line names the option, variable or file and the expected
            value.
    """
    given = {name: value for name, value in options.items() if value is not None and value != []}
    in_files = {name: _read_secret(name) for name in SECRETS if name not in given and _secret_file(name)}
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


def _secret_file(name: str) -> str:
    """Return the path in the variable `TUTUMD_…_FILE` of a secret; empty: not set."""
    return os.environ.get(f"{PREFIX}{name.upper()}{FILE_SUFFIX}", "")


def _read_secret(name: str) -> str:
    """Return the secret in its file. Raises SettingsError, without the content."""
    variable, path = f"{PREFIX}{name.upper()}", _secret_file(name)
    if os.environ.get(variable):
        raise SettingsError(f"{variable} and {variable}{FILE_SUFFIX} are both set: unset one of them")
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):  # a read from a pipe or a device may never end
            raise SettingsError(f"{variable}{FILE_SUFFIX}: {path} must be a regular file")
        line = Path(path).read_text("utf-8-sig", "replace").rstrip("\n")
    except OSError as error:
        raise SettingsError(
            f"{variable}{FILE_SUFFIX}: {path} cannot be read: {error.strerror}; name a file that this user can read"
        ) from error
    if not line.strip() or "\n" in line or "\ufffd" in line:
        raise SettingsError(f"{variable}{FILE_SUFFIX}: {path} must contain only the value, on one line of UTF-8")
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
