"""The command line: `tutumd serve|web|worker|healthcheck|…`, and the commands about users of `account_commands`."""

import os
from importlib import import_module
from typing import Annotated, Any

import typer

from tutumd.main import account_commands
from tutumd.main.account_commands import Database, DataDir

app = typer.Typer(
    help="Webhook handlers for containers: redeploy or scale one service with a POST to a secret URL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(account_commands.users, name="user")
app.add_typer(account_commands.keys, name="apikey")

ListenUrl = Annotated[
    str | None, typer.Option(help="Database URL that goes past a pooler. [TUTUMD_LISTEN_URL; the database URL]")
]
PoolSize = Annotated[int | None, typer.Option(help="Connections to the database at most. [TUTUMD_POOL_SIZE; 24]")]
Host = Annotated[str | None, typer.Option(help="Address to listen on. [TUTUMD_HOST; 127.0.0.1]")]
Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 chooses a free one. [TUTUMD_PORT; 8000]")]
Engines = Annotated[
    list[str] | None,
    typer.Option(help="local, docker, swarm, kubernetes or NAME=docker:URL; repeatable. [TUTUMD_ENGINE; auto]"),
]
WorkerKeyFile = Annotated[
    str | None,
    typer.Option(help="File with the key of all workers. [TUTUMD_WORKER_KEY_FILE; worker.key in the data folder]"),
]
AdminUser = Annotated[str | None, typer.Option(help="Name of the first admin. [TUTUMD_ADMIN_USER; admin]")]
PublicUrl = Annotated[str | None, typer.Option(help="Start of all URLs that are handed out. [TUTUMD_PUBLIC_URL]")]
MaxContainers = Annotated[
    int | None, typer.Option(help="Maximum of containers of a service. [TUTUMD_MAX_CONTAINERS; 100]")
]
Grace = Annotated[float | None, typer.Option(help="Seconds for running actions to end at exit. [TUTUMD_GRACE; 30]")]
StopDelay = Annotated[
    float | None, typer.Option(help="Seconds to go on serving at exit, with /readyz at 503. [TUTUMD_STOP_DELAY; 0]")
]
KeepDays = Annotated[int | None, typer.Option(help="Days to keep deliveries and actions. [TUTUMD_KEEP_DAYS; 90]")]
KeepAuditDays = Annotated[int | None, typer.Option(help="Days to keep the audit log. [TUTUMD_KEEP_AUDIT_DAYS; 365]")]
LogRows = Annotated[
    int | None, typer.Option(help="Deliveries of a handler that are kept at most. [TUTUMD_LOG_ROWS; 10000]")
]
LogBytes = Annotated[int | None, typer.Option(help="Bytes that they take at most. [TUTUMD_LOG_BYTES; 67108864]")]
MaxKeys = Annotated[
    int | None, typer.Option(help="Keys of a handler's deliveries of two days. [TUTUMD_MAX_KEYS; 1000000]")
]
EngineSlots = Annotated[int | None, typer.Option(help="Actions at once on one engine. [TUTUMD_ENGINE_SLOTS; 16]")]
MaxRuns = Annotated[int | None, typer.Option(help="Actions at once on all engines. [TUTUMD_MAX_RUNS; 64]")]
RedeployTimeout = Annotated[
    float | None, typer.Option(help="Seconds that a run may take, pulls apart. [TUTUMD_REDEPLOY_TIMEOUT; 3600]")
]
RedeployStall = Annotated[
    float | None, typer.Option(help="Seconds that a run may take without progress. [TUTUMD_REDEPLOY_STALL; 120]")
]
RedeployStable = Annotated[
    float | None,
    typer.Option(help="Seconds that a new container without a health check must run. [TUTUMD_REDEPLOY_STABLE]"),
]
RedeployDrain = Annotated[
    float | None,
    typer.Option(help="Seconds that an old container stays beside its successor. [TUTUMD_REDEPLOY_DRAIN]"),
]
PullTimeout = Annotated[float | None, typer.Option(help="Seconds that a pull may take. [TUTUMD_PULL_TIMEOUT; 1800]")]
Proxies = Annotated[
    list[str] | None,
    typer.Option(
        "--trusted-proxies", help="Network to believe X-Forwarded-For from; repeatable. [TUTUMD_TRUSTED_PROXIES]"
    ),
]
LogFormat = Annotated[str | None, typer.Option(help="Form of the log: text or json. [TUTUMD_LOG_FORMAT; text]")]
LogLevel = Annotated[
    str | None, typer.Option(help="Log from debug, info, warning or error on. [TUTUMD_LOG_LEVEL; info]")
]
AccessLog = Annotated[
    bool | None, typer.Option("--access-log", help="Log each request, by its route. [TUTUMD_ACCESS_LOG]")
]
MetricsFrom = Annotated[
    list[str] | None,
    typer.Option(
        "--metrics-allow-from", help="Network that may read /metrics; repeatable. [TUTUMD_METRICS_ALLOW_FROM]"
    ),
]
Dashboard = Annotated[str | None, typer.Option(help="Serve pages for people: on or off. [TUTUMD_DASHBOARD; on]")]
DashboardFrom = Annotated[
    list[str] | None,
    typer.Option(
        "--dashboard-allow-from",
        help="Network whose clients may see the pages; repeatable. [TUTUMD_DASHBOARD_ALLOW_FROM; all]",
    ),
]
UserHeader = Annotated[
    str | None,
    typer.Option(help="Header in which trusted proxies name the user who has signed in there. [TUTUMD_USER_HEADER]"),
]


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"tutumd {version('tutumd')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    database: Database = None,
    listen_url: ListenUrl = None,
    pool_size: PoolSize = None,
    engine: Engines = None,
    worker_key_file: WorkerKeyFile = None,
    admin_user: AdminUser = None,
    public_url: PublicUrl = None,
    max_containers: MaxContainers = None,
    grace: Grace = None,
    stop_delay: StopDelay = None,
    keep_days: KeepDays = None,
    keep_audit_days: KeepAuditDays = None,
    log_rows: LogRows = None,
    log_bytes: LogBytes = None,
    engine_slots: EngineSlots = None,
    max_runs: MaxRuns = None,
    redeploy_timeout: RedeployTimeout = None,
    redeploy_stall: RedeployStall = None,
    redeploy_stable: RedeployStable = None,
    redeploy_drain: RedeployDrain = None,
    pull_timeout: PullTimeout = None,
    max_keys: MaxKeys = None,
    trusted_proxies: Proxies = None,
    metrics_allow_from: MetricsFrom = None,
    dashboard: Dashboard = None,
    dashboard_allow_from: DashboardFrom = None,
    user_header: UserHeader = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
    access_log: AccessLog = None,
    demo: Annotated[
        bool | None, typer.Option("--demo", help="Run a service `hello` and print its handlers' URLs.")
    ] = None,
) -> None:
    """Serve the API, and perform its actions in a process of their own."""
    _run("serve", locals())


@app.command()
def web(
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    database: Database = None,
    listen_url: ListenUrl = None,
    pool_size: PoolSize = None,
    admin_user: AdminUser = None,
    public_url: PublicUrl = None,
    max_containers: MaxContainers = None,
    grace: Grace = None,
    stop_delay: StopDelay = None,
    log_bytes: LogBytes = None,
    max_keys: MaxKeys = None,
    trusted_proxies: Proxies = None,
    metrics_allow_from: MetricsFrom = None,
    dashboard: Dashboard = None,
    dashboard_allow_from: DashboardFrom = None,
    user_header: UserHeader = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
    access_log: AccessLog = None,
) -> None:
    """Only serve the API. Any number of web and worker processes can share a database."""
    _run("web", locals())


@app.command()
def worker(
    data_dir: DataDir = None,
    database: Database = None,
    listen_url: ListenUrl = None,
    pool_size: PoolSize = None,
    engine: Engines = None,
    worker_key_file: WorkerKeyFile = None,
    max_containers: MaxContainers = None,
    grace: Grace = None,
    keep_days: KeepDays = None,
    keep_audit_days: KeepAuditDays = None,
    log_rows: LogRows = None,
    log_bytes: LogBytes = None,
    engine_slots: EngineSlots = None,
    max_runs: MaxRuns = None,
    redeploy_timeout: RedeployTimeout = None,
    redeploy_stall: RedeployStall = None,
    redeploy_stable: RedeployStable = None,
    redeploy_drain: RedeployDrain = None,
    pull_timeout: PullTimeout = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
) -> None:
    """Only perform actions on engines. Any number of web and worker processes can share a database."""
    _run("work", locals())


@app.command()
def healthcheck(
    live: Annotated[
        bool, typer.Option("--live", help="Fail only where a restart helps: also 0 while the database is away.")
    ] = False,
) -> None:
    """Exit with 0 if the worker that runs here works, else the server on TUTUMD_PORT; with 1 if not. For containers."""
    from tutumd.main.healthcheck import check_health

    typer.echo(check_health(os.environ, live=live))


def _run(command: str, options: dict[str, Any]) -> None:
    module = import_module(f"tutumd.main.{'work' if command == 'work' else 'serve'}")  # slow
    getattr(module, command)(options)


@app.command()
def backup(
    file: Annotated[str, typer.Argument(help="File to write; - for standard output.")],
    data_dir: DataDir = None,
    database: Database = None,
) -> None:
    """Write the SQLite database and the key for secrets to a file, also while the server runs."""
    from tutumd.main import backup

    backup.backup(file, {"data_dir": data_dir, "database": database})


@app.command()
def restore(
    file: Annotated[str, typer.Argument(help="File written by tutumd backup; - for standard input.")],
    data_dir: DataDir = None,
    database: Database = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a database that exists; it is kept under another name.")
    ] = False,
) -> None:
    """Restore a backup of the SQLite database. The server must be stopped."""
    from tutumd.main import restore

    restore.restore(file, {"data_dir": data_dir, "database": database}, force=force)


@app.command()
def doctor(
    data_dir: DataDir = None,
    database: Database = None,
    listen_url: ListenUrl = None,
    engine: Engines = None,
    public_url: PublicUrl = None,
    trusted_proxies: Proxies = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find what is wrong with settings, database, engines and proxy, and say how to fix it. Changes nothing."""
    from tutumd.main import doctor

    options = {"data_dir": data_dir, "database": database, "listen_url": listen_url, "engine": engine}
    doctor.doctor(options | {"public_url": public_url, "trusted_proxies": trusted_proxies}, as_json=json)


app.command("login-link")(account_commands.make_login_link)
app.command("audit")(account_commands.list_audit)
