"""`tutumd doctor`: checks everything that a redeploy needs, beside a running server or before one starts."""

import errno
import http.client
import json
import os
import shutil
import socket
import ssl
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, replace
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from urllib.parse import urlsplit

from tutumd import logs
from tutumd.application.public_url import SUBJECT, is_local, judge_address
from tutumd.errors import EngineUnavailableError, TutumdError
from tutumd.main import engines, stored_findings
from tutumd.main.backup import megabytes
from tutumd.main.key_files import SECRET_KEY_FILE, load_cipher
from tutumd.main.missing import tell_missing
from tutumd.main.storage import restoring_file, sqlite_path
from tutumd.model import Finding, Level, compare_clocks, ok, warning, wrong
from tutumd.settings import Options, Settings, environment_warnings, read_settings
from tutumd.store.sql import Database
from tutumd.store.upkeep.checkup import DATABASE, Contents, check
from tutumd.web.messages.engines import describe_fault

_FOLDER, _KEY = "data folder", "key"
_LITTLE_BYTES = 200_000_000
_TRIAL_BYTES = 256 * 1024
_REPORT = "report this: it is a fault of tutumd doctor"
_IN_THE_FUTURE = timedelta(seconds=60)
_WIDTH = max(len(level) for level in Level)
_SUBJECT_WIDTH = len("engine docker")
_INDENT = " " * (_WIDTH + _SUBJECT_WIDTH + 4)
_URL_LIMIT_S = 4.0
_DAYS_LEFT = 10
_FIXES: tuple[tuple[type[Exception], str], ...] = (
    (ssl.SSLCertVerificationError, "renew the certificate, or let the proxy send the whole chain for this host name"),
    (ssl.SSLError, "correct the port, or let the proxy speak TLS there"),
    (socket.gaierror, "make a DNS record for the host name"),
    (TimeoutError, "open the firewall"),
    (ConnectionRefusedError, "start the proxy, or correct the port"),
    (Exception, "check the proxy"),
)


def doctor(options: Options, *, as_json: bool) -> None:
    """Print the findings. Ends the process with 1 if something is wrong, else with 0."""
    logs.configure("critical")  # the findings report what the checks would log
    findings, columns = [], max(shutil.get_terminal_size().columns, 2 * len(_INDENT))
    # Paths and URLs stay complete, because people copy them.
    wrap = partial(textwrap.fill, width=columns, break_long_words=False, break_on_hyphens=False)
    for found in examine(options):
        text, mend = (" ".join(logs.redact(text).split()) for text in (found.text, found.mend))
        findings.append(replace(found, text=text, mend=mend))
        if not as_json:
            head = f"{found.level:{_WIDTH}}  {found.subject:{_SUBJECT_WIDTH}}  "
            print(wrap(text, initial_indent=head, subsequent_indent=_INDENT), flush=True)
            if mend:
                print(wrap(f"→ {mend}", initial_indent=_INDENT, subsequent_indent=f"{_INDENT}  "), flush=True)
    levels = [finding.level for finding in findings]
    if as_json:
        print(json.dumps({"version": version("tutumd"), "findings": [asdict(each) for each in findings]}, indent=2))
    else:
        warnings = levels.count(Level.WARNING)
        print(
            f"\n{levels.count(Level.WRONG)} wrong, {warnings} {'warning' if warnings == 1 else 'warnings'},"
            f" {levels.count(Level.OK)} ok"
        )
    sys.exit(Level.WRONG in levels)


def examine(options: Options) -> Iterator[Finding]:
    """Yield all findings, each as soon as it is known. Each check ends within seconds."""
    yield from (warning("settings", text, "rename or unset it") for text in environment_warnings(os.environ))
    try:
        settings = read_settings(options)
    except TutumdError as error:
        for text in str(error).splitlines():
            yield wrong(
                "settings",
                text,
                "correct the setting, and run tutumd doctor again: the other checks need valid settings",
            )
        return
    specs: list[engines.Spec] = []
    try:
        specs = engines.find_specs(settings)
        yield ok("settings", f"all settings are valid (tutumd {version('tutumd')})")
    except TutumdError as error:
        yield wrong("settings", str(error), "correct the setting: no engine can be checked before")
    yield from _guarded(_FOLDER, check_folder(settings), "correct TUTUMD_DATA_DIR or --data-dir")
    read: list[Contents] = []
    yield from _guarded(DATABASE, check_database(settings, read), "correct TUTUMD_DATABASE or --database")
    contents = read[0] if read else None
    for spec in specs:
        yield from _guarded(
            f"engine {spec.name}",
            _check_engine(spec, settings, contents.installation if contents else ""),
            "correct --engine, or the address that it names",
        )
    yield from _guarded(
        _KEY,
        _check_key(settings, contents.secret if contents else None),
        "set TUTUMD_SECRET_KEY, or restore secret.key, to the key that was used",
    )
    if contents:
        stored = {
            stored_findings.WORKER: stored_findings.check_workers(contents),
            stored_findings.NOTIFIER: stored_findings.check_notifications(contents),
            stored_findings.ISSUERS: stored_findings.check_issuers(contents),
            stored_findings.CALLS: stored_findings.check_calls(settings, contents),
        }
        for subject, findings in stored.items():
            yield from _guarded(subject, findings)
    if settings.public_url or settings.trusted_proxies:
        yield from _guarded(SUBJECT, _check_public_url(settings.public_url))


def _guarded(subject: str, findings: Iterable[Finding], fix: str = "") -> Iterator[Finding]:
    """Yield the findings, and a finding for the error that ends a check.

    Args:
        fix: What to do about an error that is raised on purpose.
    """
    try:
        yield from findings
    except ModuleNotFoundError as error:
        yield wrong(subject, tell_missing(error.name or ""), "then run tutumd doctor again")
    except TutumdError as error:
        yield wrong(subject, str(error), fix or _REPORT)
    except Exception as error:  # noqa: BLE001 (the other checks go on)
        yield wrong(subject, f"the check failed: {type(error).__name__}: {error}", _REPORT)


def check_folder(settings: Settings) -> Iterator[Finding]:
    """Yield whether the data folder can be written, and whether its disk has room."""
    folder = settings.data_dir.absolute()
    if not folder.exists():
        yield warning(_FOLDER, f"{folder} does not exist yet", "start tutumd, which makes it, or give --data-dir")
        return
    free = shutil.disk_usage(folder).free
    try:
        with tempfile.TemporaryFile(dir=folder) as file:  # without a name
            file.write(bytes(_TRIAL_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        yield wrong(
            _FOLDER,
            f"user {os.geteuid()} cannot write {folder}: {error.strerror}",
            f"free some space ({megabytes(free)} are free), or run tutumd and this command as the owner of the folder,"
            f" user {folder.stat().st_uid}",
        )
        return
    if free < _LITTLE_BYTES:
        yield warning(_FOLDER, f"the disk of {folder} has only {megabytes(free)} free", "free some space")
    else:
        yield ok(_FOLDER, f"{folder} can be written; {free / 1e9:,.1f} GB are free")


def check_database(settings: Settings, read: list[Contents]) -> Iterator[Finding]:
    """Yield the findings about the database. Its contents are added to `read`, if they can be read."""
    Database(settings.database_url, settings.listen_url).close()  # raises if a URL is wrong
    path = sqlite_path(settings)
    if path is not None and os.access(restoring_file(path), os.F_OK):
        yield wrong(
            DATABASE,
            f"{path} is half restored, and no server starts",
            "run tutumd restore again, with the same backup",
        )
    elif path is not None and not os.access(path, os.F_OK):
        yield warning(
            DATABASE,
            f"there is no database {path} that this user can see",
            "start tutumd, which makes it; if it exists, give the right --data-dir or --database, or run as its owner",
        )
    else:
        before = time.time()
        findings, contents = check(settings.database_url)
        yield from findings
        if contents is None:
            return
        read.append(contents)
        if path is None:
            yield from compare_clocks(DATABASE, contents.now.timestamp(), before, time.time())
        if contents.newest is not None and contents.newest > contents.now + _IN_THE_FUTURE:
            yield warning(
                "clock",
                f"the last call was stored at {contents.newest:%Y-%m-%d %H:%M} UTC, which is in the future",
                "synchronize the clock: timedatectl set-ntp true, or chrony",
            )


def _check_engine(spec: engines.Spec, settings: Settings, installation: str) -> Iterator[Finding]:
    if spec.kind == "local" and not os.access(engines.local_folder(spec, settings), os.F_OK):
        yield ok(f"engine {spec.name}", "runs services as processes of this machine; none was started yet")
        return
    with closing(engines.build_engine(spec, settings, installation)) as engine:
        try:
            yield from engine.check()
        except EngineUnavailableError as error:
            what, fix = describe_fault(error.faults)
            yield wrong(f"engine {spec.name}", what or str(error), fix)


def _check_key(settings: Settings, secret: str | None) -> Iterator[Finding]:
    """Yield whether the key for secrets exists and fits a stored secret. None: no secret is stored."""
    path = settings.data_dir / SECRET_KEY_FILE
    if settings.secret_key or os.access(path, os.F_OK):
        cipher = load_cipher(settings)
        if secret is not None:
            cipher.decrypt(secret)
        yield ok(_KEY, "the key is valid" if secret is None else "the key fits the secrets that are stored")
    elif secret is None:
        yield ok(_KEY, f"{path} is made at the first start")
    else:
        yield wrong(
            _KEY,
            f"{path} is missing, and secrets are stored: calls of their handlers get 503, and webhooks are not sent",
            "restore the file from a backup, or set TUTUMD_SECRET_KEY to the key that was used",
        )


def _check_public_url(url: str) -> Iterator[Finding]:
    """Yield the findings about a public URL; empty: it is not set."""
    if finding := judge_address(url):
        yield finding
    if not url:
        return
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        with closing(kind(parts.hostname or "", parts.port, timeout=_URL_LIMIT_S)) as connection:
            connection.connect()
            if isinstance(connection.sock, ssl.SSLSocket):
                ends_s = ssl.cert_time_to_seconds(str((connection.sock.getpeercert() or {}).get("notAfter")))
                days = (ends_s - time.time()) / 86_400
                if days < _DAYS_LEFT:
                    yield warning(
                        SUBJECT, f"its certificate ends in {days:.0f} days", "check why the proxy does not renew it"
                    )
            connection.request("GET", f"{parts.path}/healthz", headers={"User-Agent": "tutumd-doctor"})
            response = connection.getresponse()
            yield _judge_answer(url, response.status, response.read(64 * 1024))
    except (OSError, http.client.HTTPException) as error:
        yield _unreachable(url, error)


def _judge_answer(url: str, status: int, body: bytes) -> Finding:
    match status:
        case 301 | 302 | 303 | 307 | 308:
            return wrong(
                SUBJECT,
                f"{url} redirects",
                "set the URL that it redirects to: senders do not follow redirects of a POST",
            )
        case 502 | 503 | 504:
            return wrong(
                SUBJECT,
                f"{url}/healthz answers {status}: the proxy does not reach tutumd",
                "start tutumd, and let the proxy forward to the address in --host and --port",
            )
        case 200 if b"".join(body.split()) == b'{"status":"ok"}':
            return ok(SUBJECT, f"{url} leads to a tutumd")
        case _:
            return wrong(
                SUBJECT,
                f"{url}/healthz answers {status}, and not as tutumd does",
                "let the proxy forward this host and path to tutumd",
            )


def _unreachable(url: str, error: Exception) -> Finding:
    number = getattr(error, "errno", None)
    has_no_network = number == errno.ENETUNREACH or (isinstance(error, socket.gaierror) and number == socket.EAI_AGAIN)
    # In a container, a local address means the container itself.
    is_elsewhere = isinstance(error, ConnectionRefusedError) and is_local(urlsplit(url).hostname or "")
    if has_no_network or is_elsewhere:
        return warning(
            SUBJECT,
            f"{url} cannot be tried from here: {getattr(error, 'strerror', None) or error}",
            f"try it from a machine that reaches it: curl {url}/healthz",
        )
    reason = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or error or type(error).__name__
    fix = next(fix for kind, fix in _FIXES if isinstance(error, kind))
    return wrong(
        SUBJECT,
        f"{url} cannot be reached: {reason}",
        f"{fix}; if only this machine or container cannot reach it, try another one: curl {url}/healthz",
    )
