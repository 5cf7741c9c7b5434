"""The command that installs a missing package in the environment of this process."""

import sys
from importlib.util import find_spec
from pathlib import Path
from shlex import quote

_EXTRAS = {"psycopg": "postgres", "kubernetes": "kubernetes", "yaml": "kubernetes", "apprise": "notify"}
_NEEDS = {
    "server": "the server needs",
    "postgres": "a PostgreSQL database needs",
    "kubernetes": "the engine kubernetes needs",
    "notify": "a notification target of the kind apprise needs",
}


def tell_missing(module: str) -> str:
    """Return which part of tutumd needs a missing module, and the command that installs it."""
    package = module.partition(".")[0]
    extra = _EXTRAS.get(package, "server")
    return f"{_NEEDS[extra]} the package {package}, which is not installed: run {install_command(extra)}"


def install_command(extra: str, prefix: Path = Path(sys.prefix), root: Path = Path(__file__).parents[3]) -> str:
    """Return the command that adds an extra to an environment, and removes nothing.

    Args:
        prefix: Folder of the environment. pipx and uv keep their own file in environments that they create.
        root: Folder of the checkout, if this code runs in a checkout.
    """
    setup = root / "script" / "setup"
    if setup.exists() and prefix == root / ".venv":
        return f"{quote(str(setup))} {extra}"
    extras = {extra, *(each for module, each in _EXTRAS.items() if find_spec(module))}
    requirement = f"'tutumd[{','.join(sorted(extras))}]'"
    if (prefix / "pipx_metadata.json").exists():
        return f"pipx install --force {requirement}"
    if (prefix / "uv-receipt.toml").exists():
        return f"uv tool install {requirement}"
    python = quote(str(prefix / "bin" / "python"))
    if any(prefix.glob("lib/python3*/site-packages/pip")):
        return f"{python} -m pip install {requirement}"
    return f"uv pip install --python {python} {requirement}"
