"""Checks of `tutumd doctor` on the server itself: the data folder, the database, the key, the workers, the calls."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from tutumd.engines.rollout.clock_skew import compare_clocks
from tutumd.errors import SettingsError
from tutumd.main.backup import database_path, megabytes
from tutumd.main.key_files import SECRET_KEY_FILE
from tutumd.main.secret_key import load_cipher
from tutumd.main.storage import is_new, restoring_file
from tutumd.model.findings import Finding, ok, warning, wrong
from tutumd.ports.queue import HEARTBEAT_TIMEOUT
from tutumd.settings import Settings
from tutumd.store.sql.database import Database
from tutumd.store.upkeep.checkup import DATABASE, Contents, check_postgres, check_sqlite

_FOLDER, _KEY, _WORKER, _CALLS = "data folder", "key", "worker", "calls"
_LITTLE_BYTES = 200_000_000
_TRIAL_BYTES = 256 * 1024
_MANY_CALLS = 5
_IN_THE_FUTURE = timedelta(seconds=60)


def check_folder(settings: Settings) -> Iterator[Finding]:
    """Yield whether the data folder can be written, and whether its disk has room."""
    folder = settings.data_dir.absolute()
    if not folder.exists():
        yield warning(_FOLDER, f"{folder} does not exist yet", "start tutumd, which makes it, or give --data-dir")
        return
    free = shutil.disk_usage(folder).free
    try:
        with tempfile.TemporaryFile(dir=folder) as file:  # without a name
            file.write(b"\0" * _TRIAL_BYTES)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        fix = (
            f"free some space ({megabytes(free)} are free), or run tutumd and this command as the owner of the folder,"
            f" user {folder.stat().st_uid}"
        )
        yield wrong(_FOLDER, f"user {os.geteuid()} cannot write {folder}: {error.strerror}", fix)
        return
    if free < _LITTLE_BYTES:
        yield warning(_FOLDER, f"the disk of {folder} has only {megabytes(free)} free", "free some space")
    else:
        yield ok(_FOLDER, f"{folder} can be written; {free / 1e9:,.1f} GB are free")


def check_database(settings: Settings) -> tuple[list[Finding], Contents | None]:
    """Return the findings about the database, and what is in it if it can be read."""
    try:
        Database(settings.database_url, settings.listen_url).close()
    except SettingsError as error:
        return [wrong(DATABASE, str(error), "correct TUTUMD_DATABASE or --database")], None
    if not settings.database_url.startswith("sqlite:"):
        before = time.time()
        findings, contents = check_postgres(settings.database_url)
        if contents is not None and contents.now is not None:
            findings += compare_clocks(DATABASE, contents.now.timestamp(), before, time.time())
        return findings, contents
    path = database_path(settings)
    if os.access(restoring_file(path), os.F_OK):
        fix = "run tutumd restore again, with the same backup"
        return [wrong(DATABASE, f"{path} is half restored, and no server starts", fix)], None
    if is_new(settings):
        fix = "start tutumd, which makes it; if it exists, give the right --data-dir or --database, or run as its owner"
        return [warning(DATABASE, f"there is no database {path} that this user can see", fix)], None
    return check_sqlite(path)


def check_key(settings: Settings, secret: str | None) -> Iterator[Finding]:
    """Yield whether the key for secrets exists and fits.

    Args:
        secret: A stored secret, encrypted; None if there is none.
    """
    path = settings.data_dir / SECRET_KEY_FILE
    if not settings.secret_key and not os.access(path, os.F_OK):
        if secret is None:
            yield ok(_KEY, f"{path} is made at the first start")
        else:
            fix = "restore the file from a backup, or set TUTUMD_SECRET_KEY to the key that was used"
            yield wrong(_KEY, f"{path} is missing, and secrets are stored: calls of their handlers get 503", fix)
        return
    try:
        cipher = load_cipher(settings)
        if secret is None:
            yield ok(_KEY, "the key is valid; no secret is stored that it could be tried with")
        else:
            cipher.decrypt(secret)
            yield ok(_KEY, "the key fits the secrets that are stored")
    except SettingsError as error:
        yield wrong(_KEY, str(error), "set TUTUMD_SECRET_KEY, or restore secret.key, to the key that was used")


def check_workers(contents: Contents) -> Iterator[Finding]:
    """Yield, for each engine that a worker ever served, whether one does."""
    now = contents.now or datetime.now(UTC)
    if not contents.engines:
        yield warning(_WORKER, "no worker has started yet", "start tutumd serve, or tutumd worker beside tutumd web")
    for name, (seen, error) in sorted(contents.engines.items()):
        age = now - seen
        if age > HEARTBEAT_TIMEOUT:
            fix = "start tutumd serve or worker with that engine, or read its log"
            text = f"no worker has served the engine {name} since {seen:%Y-%m-%d %H:%M:%S} UTC: its actions wait"
            yield wrong(_WORKER, text, fix)
        elif error:
            yield wrong(_WORKER, f"the worker of the engine {name} reports: {error}", f"see the engine {name} above")
        else:
            seconds = max(0.0, age.total_seconds())
            yield ok(_WORKER, f"the worker of the engine {name} reported {seconds:.0f} s ago")


def check_calls(settings: Settings, contents: Contents) -> Iterator[Finding]:
    """Yield whether the server sees the addresses of its callers, and whether the clock went back."""
    newest = contents.newest
    if newest is not None and newest > (contents.now or datetime.now(UTC)) + _IN_THE_FUTURE:
        fix = "synchronize the clock: timedatectl set-ntp true, or chrony"
        yield warning("clock", f"the last call was stored at {newest:%Y-%m-%d %H:%M} UTC, which is in the future", fix)
    count, callers = len(contents.direct), set(contents.direct)
    is_behind_proxy = bool(settings.public_url or settings.trusted_proxies)
    if is_behind_proxy and count >= _MANY_CALLS and len(callers) == 1 and _is_private(*callers):
        (caller,) = callers
        fix = (
            f"if {caller} is your proxy, let it send X-Forwarded-For and set TUTUMD_TRUSTED_PROXIES={caller}:"
            " see docs/how-to/proxy.md"
        )
        text = f"the last {count} calls came from {caller}, a private address: allow_from and limits see one caller"
        yield warning(_CALLS, text, fix)
    else:
        yield ok(_CALLS, "no call has come yet" if newest is None else "the addresses of callers look right")


def _is_private(address: str) -> bool:
    try:
        return ip_address(address).is_private
    except ValueError:
        return False
