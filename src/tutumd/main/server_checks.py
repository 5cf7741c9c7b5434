"""What `tutumd doctor` looks at beside the engines: the data folder, the key, the workers, the calls."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from tutumd.application.admission.encryption import SecretCipher
from tutumd.errors import SettingsError
from tutumd.main.backup import database_path, megabytes
from tutumd.main.key_files import SECRET_KEY_FILE
from tutumd.main.storage import is_new, restoring_file
from tutumd.model.findings import Finding, ok, warning, wrong
from tutumd.ports.queue import HEARTBEAT_TIMEOUT
from tutumd.settings import Settings
from tutumd.store.sql.database import Database
from tutumd.store.upkeep.checkup import DATABASE, Contents, check_listen_url, check_postgres, check_sqlite

_FOLDER, _KEY, _WORKER, _CALLS = "data folder", "key", "worker", "calls"
_LITTLE_BYTES = 200_000_000
_TRIAL_BYTES = 256 * 1024
_MANY_CALLS = 5
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_IN_THE_FUTURE = timedelta(seconds=60)


def check_folder(settings: Settings) -> Iterator[Finding]:
    """Yield whether the data folder can be written, and whether its disk has room."""
    folder = settings.data_dir.absolute()
    if not folder.exists():
        yield warning(_FOLDER, f"{folder} is not there yet", "start tutumd, which makes it, or give --data-dir")
        return
    owner = folder.stat().st_uid
    if os.geteuid() not in (owner, 0):
        mend = f"run tutumd, and this, as its owner, user {owner}; or chown -R {os.geteuid()} {folder}"
        yield wrong(_FOLDER, f"{folder} belongs to user {owner}, and this is user {os.geteuid()}", mend)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:  # without a name
            file.write(b"\0" * _TRIAL_BYTES)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        mend = "free some space" if error.errno in _NO_SPACE else "let this user write to it"
        yield wrong(_FOLDER, f"{folder} cannot be written: {error.strerror}", mend)
        return
    free = shutil.disk_usage(folder).free
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
        findings, contents = check_postgres(settings.database_url, settings.listen_url)
        return findings + (check_listen_url(settings.listen_url) if settings.listen_url else []), contents
    path = database_path(settings)
    if path.parent.exists() and not os.access(path.parent, os.R_OK | os.W_OK | os.X_OK):
        mend = f"give it to the user that tutumd runs as: chown -R {os.geteuid()} {path.parent}"
        return [wrong(DATABASE, f"this user may not use the folder {path.parent}", mend)], None
    if restoring_file(path).exists():
        mend = "run tutumd restore again, with the same backup"
        return [wrong(DATABASE, f"{path} is half restored, and no server starts", mend)], None
    if is_new(settings):
        mend = "start tutumd, which makes it; if there was one, give the right --data-dir or --database"
        return [warning(DATABASE, f"there is no database {path} yet", mend)], None
    findings = []
    readers = [file for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")) if file.exists()]
    if closed := [file for file in readers if not os.access(file, os.R_OK | os.W_OK)]:
        mend = f"give it to the user that tutumd runs as: chown {os.geteuid()} {path}*"
        findings.append(wrong(DATABASE, f"this user may not read and write {closed[0]}", mend))
        return findings, None
    return check_sqlite(path)


def check_key(settings: Settings, contents: Contents | None) -> Iterator[Finding]:
    """Yield whether the key for secrets is there and fits the secrets that are stored."""
    try:
        cipher = read_cipher(settings)
    except SettingsError as error:
        yield wrong(_KEY, str(error), "correct it, or restore it from a backup")
        return
    secret = contents.secret if contents else None
    path = settings.data_dir / SECRET_KEY_FILE
    if cipher is None:
        if secret is not None:
            mend = "restore the file from a backup, or set TUTUMD_SECRET_KEY to the key that was used"
            yield wrong(_KEY, f"{path} is missing, and secrets are stored: calls of their handlers get 503", mend)
        else:
            yield ok(_KEY, f"{path} is made at the first start")
        return
    if not settings.secret_key and not settings.database_url.startswith("sqlite:"):
        mend = f"set TUTUMD_SECRET_KEY to the key in {path} for all of them"
        yield warning(_KEY, "TUTUMD_SECRET_KEY is not set: other replicas cannot read secrets of this one", mend)
    if secret is None:
        yield ok(_KEY, "the key is there; no secret is stored that it could be tried with")
        return
    try:
        cipher.decrypt(secret)
    except SettingsError:
        mend = "set TUTUMD_SECRET_KEY, or restore secret.key, to the key that was used; former keys after a comma"
        yield wrong(_KEY, "the secrets that are stored were encrypted with another key: their handlers get 503", mend)
    else:
        yield ok(_KEY, "the key fits the secrets that are stored")


def read_cipher(settings: Settings) -> SecretCipher | None:
    """Return the cipher without making a key; None if there is none yet. Raises SettingsError if it is not valid."""
    if settings.secret_key:
        return SecretCipher([key.strip() for key in settings.secret_key.split(",") if key.strip()])
    path = settings.data_dir / SECRET_KEY_FILE
    try:
        return SecretCipher([path.read_text(encoding="ascii", errors="replace").strip()])
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None


def check_workers(contents: Contents) -> Iterator[Finding]:
    """Yield, for each engine that a worker ever served, whether one does."""
    now = contents.now or datetime.now(UTC)
    if not contents.engines:
        yield warning(_WORKER, "no worker has started yet", "start tutumd serve, or tutumd worker beside tutumd web")
    for name, (seen, error) in sorted(contents.engines.items()):
        age = now - seen
        if age > HEARTBEAT_TIMEOUT:
            mend = "start tutumd serve or worker with that engine, or read its log"
            when = f"{seen:%Y-%m-%d %H:%M:%S} UTC"
            yield wrong(_WORKER, f"none works for the engine {name} since {when}: its actions wait", mend)
        elif error:
            yield wrong(_WORKER, f"the one of the engine {name} reports: {error}", f"see what is said of engine {name}")
        else:
            yield ok(_WORKER, f"the one of the engine {name} reported {max(0.0, age.total_seconds()):.0f} s ago")


def check_calls(settings: Settings, contents: Contents) -> Iterator[Finding]:
    """Yield whether the server sees the addresses of its callers, and whether the clock went back."""
    newest, addresses = contents.newest, contents.addresses
    if newest is not None and contents.now is None and newest > datetime.now(UTC) + _IN_THE_FUTURE:
        mend = "synchronize the clock: timedatectl set-ntp true, or chrony"
        yield warning("clock", f"the last call was stored at {newest:%Y-%m-%d %H:%M} UTC, which is to come", mend)
    if not addresses:
        yield ok(_CALLS, "none has come yet" if newest is None else "none of the last ones was stored with its headers")
        return
    known = {address: ip_address(address) for address in set(addresses) if _is_address(address)}
    through_proxy = bool(settings.public_url or settings.trusted_proxies)
    trusted = [a for a, ip in known.items() if any(ip in network for network in settings.trusted_proxies)]
    only = next(iter(known.values())) if len(known) == 1 else None
    is_hidden = through_proxy and len(addresses) >= _MANY_CALLS and not contents.forwarded
    if addresses[0] in trusted and not contents.forwarded:
        mend = (
            "if your proxy forwarded the call, let the proxy send that header: docs/how-to/proxy.md has complete files."
            " A call that does not pass the proxy needs none"
        )
        text = f"the last one came from {addresses[0]}, a trusted proxy, without X-Forwarded-For: its sender is unknown"
        yield warning(_CALLS, text, mend)
    elif is_hidden and only is not None and only.is_private:
        mend = (
            f"if that is your proxy, let it send X-Forwarded-For and set TUTUMD_TRUSTED_PROXIES={only}:"
            " see docs/how-to/proxy.md"
        )
        text = f"the last {len(addresses)} came from {only}, a private address: allow_from and limits see one caller"
        yield warning(_CALLS, text, mend)
    else:
        noun = "address" if len(known) == 1 else "addresses"
        yield ok(_CALLS, f"the last {len(addresses)} came from {len(known)} {noun}")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
