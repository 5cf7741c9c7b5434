"""Options of commands: one for each setting of the command."""

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer
from typer.core import TyperCommand

from tutumd.settings import GROUPS, PREFIX, Settings

STORAGE = ("data_dir", "database")
"""Settings of commands that only open the database."""


class SettingsCommand(TyperCommand):
    """A command whose help shows the settings in the groups and the order of docs/reference/settings.md."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                groups.setdefault(getattr(parameter, "rich_help_panel", None) or "Options", []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)


def settings_of(command: str) -> tuple[str, ...]:
    """Return the settings that `serve`, `web` or `worker` has options for."""
    return tuple(name for name in Settings.model_fields if command in _extra(name)["commands"].split())


def with_settings(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command options for settings. Its argument `options` receives their values by name; None: not given."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**given: Any) -> None:
            command({name: given.pop(name) for name in names}, **given)

        _, *own = signature(command, eval_str=True).parameters.values()
        parameters = [*own, *map(_parameter, names)]
        run.__signature__ = signature(command).replace(parameters=parameters)  # type: ignore[attr-defined] # for typer
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def default_of(name: str) -> str:
    """Return the default of a setting in Markdown; empty: there is none to show."""
    default, shown = Settings.model_fields[name].default, _extra(name)["shown"]
    if shown or default is None or default is False:
        return shown
    text = ", ".join(default) if isinstance(default, tuple) else str(default).removesuffix(".0")
    return text and f"`{text}`"


def _extra(name: str) -> dict[str, str]:
    return Settings.model_fields[name].json_schema_extra  # type: ignore[return-value] # as _setting makes it


def _parameter(name: str) -> Parameter:
    field = Settings.model_fields[name]
    source = "; ".join(filter(None, (f"{PREFIX}{name.upper()}", default_of(name))))
    text = f"{field.description} [{source}]".replace("`", "")
    names = list(Settings.model_fields)
    group = next(GROUPS[each] for each in reversed(names[: names.index(name) + 1]) if each in GROUPS)
    return Parameter(
        name,
        Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            _kind(name) | None, typer.Option(f"--{name.replace('_', '-')}", help=text, rich_help_panel=group)
        ],
    )


def _kind(name: str) -> Any:
    """Return the type of an option: numbers and paths for the help and the shell; the settings check all values."""
    field = Settings.model_fields[name]
    if get_origin(field.annotation) is tuple:
        return list[str]
    if field.default is False:
        return bool
    return next((kind for kind in (int, float, Path) if kind in (field.annotation, *get_args(field.annotation))), str)
