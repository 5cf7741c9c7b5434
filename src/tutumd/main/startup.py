"""What every command does first: memory, logs and settings."""

import os
from collections.abc import Mapping
from typing import Any

import structlog

from tutumd import logs
from tutumd.application import accounts
from tutumd.main import engines
from tutumd.main.memory import limit_arenas
from tutumd.main.storage import is_new
from tutumd.settings import Settings, environment_warnings, read_settings

_log = structlog.get_logger(__name__)


def configure(options: Mapping[str, Any]) -> Settings:
    """Prepare the process and return the settings. Raises SettingsError or InvalidInputError if one is wrong."""
    settings = prepare(options)
    _check(settings)
    for warning in environment_warnings(os.environ):
        _log.warning(warning)
    return settings


def prepare(options: Mapping[str, Any]) -> Settings:
    """Prepare the process and return the settings, which the process that started it has checked."""
    limit_arenas()
    logs.configure()
    return read_settings(options)


def _check(settings: Settings) -> None:
    """Raise SettingsError or InvalidInputError for what would fail only after something was made."""
    engines.parse_specs([text for text in settings.engine if text != "auto"])
    accounts.check_name(settings.admin_user or "admin")
    if settings.admin_apikey and is_new(settings):
        accounts.check_key(settings.admin_apikey)
    if settings.secret_key:
        from tutumd.main.secret_key import load_cipher  # slow to import

        load_cipher(settings)
