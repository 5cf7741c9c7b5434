"""What every command does first: memory, logs and settings."""

import ctypes
import os
from collections.abc import Mapping
from typing import Any

import structlog

from tutumd import logs
from tutumd.application import accounts
from tutumd.main import engines
from tutumd.main.key_files import SECRET_KEY_FILE
from tutumd.main.storage import is_new
from tutumd.settings import Settings, environment_warnings, read_settings

_M_ARENA_MAX = -8
_MAX_ARENAS = 2
_log = structlog.get_logger(__name__)


def configure(options: Mapping[str, Any], *, is_checked: bool = False) -> Settings:
    """Prepare the process and return the settings.

    Args:
        is_checked: The process that started this one has checked them.

    Raises:
        SettingsError or InvalidInputError: One is wrong. The text says what it must be.
    """
    _limit_arenas()
    settings = read_settings(options)
    logs.configure(settings.log_level, settings.log_format)
    if not is_checked:  # what would fail only after something was made
        engines.parse_specs([text for text in settings.engine if text != "auto"])
        accounts.check_name(settings.admin_user or "admin")
        if settings.admin_apikey and is_new(settings):
            accounts.check_key(settings.admin_apikey)
        if settings.secret_key or (is_new(settings) and os.access(settings.data_dir / SECRET_KEY_FILE, os.F_OK)):
            from tutumd.main.secret_key import load_cipher  # slow to import

            load_cipher(settings)
        for warning in environment_warnings(os.environ):
            _log.warning(warning)
    return settings


def _limit_arenas() -> None:
    """Let glibc allocate from few arenas, unless its own variable says otherwise. Call this before threads start.

    By default it makes up to eight for each core. Each keeps what its threads once had in use: with the pages that
    SQLite's connections read and free all the time, a server grew by 10 MB a minute. mallopt(3).
    """
    if "MALLOC_ARENA_MAX" not in os.environ and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_ARENA_MAX, _MAX_ARENAS)
