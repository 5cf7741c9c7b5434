"""`tutumd doctor`: checks everything that a redeploy needs, beside a running server or before one starts."""

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from typing import Any

from tutumd import logs
from tutumd.errors import SettingsError, TutumdError
from tutumd.main import engines
from tutumd.main.missing import tell_missing
from tutumd.main.public_url_check import check_public_url
from tutumd.main.server_checks import check_calls, check_database, check_folder, check_key, check_workers
from tutumd.model import Finding, Level
from tutumd.model.findings import ok, warning, wrong
from tutumd.settings import Settings, environment_warnings, read_settings
from tutumd.store.upkeep.checkup import Contents

_LIMIT_S = 12.0
"""Maximum duration of a check. Checks run side by side, in two rounds."""

_COLORS = {Level.OK: "32", Level.WARNING: "33", Level.WRONG: "31"}
_WIDTH = max(len(level) for level in Level)

Check = Callable[[], Iterable[Finding]]


def doctor(options: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the findings. Ends the process with 1 if something is wrong, else with 0."""
    logs.configure("critical")  # the findings say what the checks would log
    findings = [_redacted(finding) for finding in examine(options)]
    if as_json:
        print(json.dumps({"version": version("tutumd"), "findings": [asdict(each) for each in findings]}, indent=2))
    else:
        _print(findings)
    sys.stdout.flush()
    # Not by an exception: threads of checks that hang must not keep the process.
    os._exit(1 if any(finding.level is Level.WRONG for finding in findings) else 0)


def examine(options: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield all findings, within half a minute."""
    yield from (warning("settings", text, "rename or unset it") for text in environment_warnings(os.environ))
    try:
        settings = read_settings(options)
    except SettingsError as error:
        fix = "correct the setting, and run tutumd doctor again: the other checks need valid settings"
        yield from (wrong("settings", text, fix) for text in str(error).splitlines())
        return
    specs: list[engines.Spec] = []
    try:
        specs = engines.find_specs(settings)
        yield ok("settings", f"all settings are valid (tutumd {version('tutumd')})")
    except TutumdError as error:
        yield wrong("settings", str(error), "correct the setting: no engine can be checked before")
    read: list[Contents] = []

    def look_into_database() -> list[Finding]:
        findings, contents = check_database(settings)
        read.extend([contents] if contents else [])
        return findings

    yield from run_checks({"data folder": lambda: check_folder(settings), "database": look_into_database})
    contents = read[0] if read else Contents()
    checks: dict[str, Check] = {
        f"engine {spec.name}": partial(_check_engine, spec, settings, contents.installation) for spec in specs
    }
    checks["key"] = lambda: check_key(settings, contents.secret)
    if read:
        checks["worker"] = lambda: check_workers(contents)
        checks["calls"] = lambda: check_calls(settings, contents)
    if settings.public_url or settings.trusted_proxies:
        checks["public URL"] = lambda: check_public_url(settings.public_url)
    yield from run_checks(checks)


def run_checks(checks: Mapping[str, Check], limit_s: float = _LIMIT_S) -> Iterator[Finding]:
    """Run checks side by side, and yield their findings in order. A check that takes too long is a finding."""
    pool = ThreadPoolExecutor(len(checks))
    futures = {subject: pool.submit(lambda check: list(check()), check) for subject, check in checks.items()}
    wait(futures.values(), limit_s)
    for subject, future in futures.items():
        yield from _results(subject, future, limit_s)


def _results(subject: str, future: Future[list[Finding]], limit_s: float) -> Iterable[Finding]:
    if not future.done():
        fix = "check whether it hangs, or whether a firewall drops packets to it"
        return [wrong(subject, f"no answer within {limit_s:g} s", fix)]
    error = future.exception()
    if isinstance(error, ModuleNotFoundError):
        return [wrong(subject, tell_missing(error.name or ""), "then run tutumd doctor again")]
    if error is not None:
        text = f"the check failed: {type(error).__name__}: {error}"
        return [wrong(subject, text, "report this: it is a fault of tutumd doctor")]
    return future.result()


def _check_engine(spec: engines.Spec, settings: Settings, installation: str) -> Sequence[Finding]:
    subject = f"engine {spec.name}"
    if spec.kind == "local" and not os.access(engines.local_folder(spec, settings), os.F_OK):
        return [ok(subject, "runs services as processes of this machine; none was started yet")]
    try:
        with closing(engines.build_engine(spec, settings, installation)) as engine:
            return engine.check()
    except SettingsError as error:
        return [wrong(subject, str(error), "correct --engine, or the address that it names")]


def _redacted(finding: Finding) -> Finding:
    text, mend = (" ".join(logs.redact(text).split()) for text in (finding.text, finding.mend))
    return replace(finding, text=text, mend=mend)


def _print(findings: Sequence[Finding]) -> None:
    has_colors = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    width = max(len(finding.subject) for finding in findings)
    indent = _WIDTH + width + 4
    columns = max(shutil.get_terminal_size().columns, 2 * indent)
    # Paths and URLs stay whole: people copy them.
    wrap = partial(textwrap.wrap, width=columns - indent, break_long_words=False, break_on_hyphens=False)
    for finding in findings:
        lines = wrap(finding.text) + (wrap(f"→ {finding.mend}", subsequent_indent="  ") if finding.mend else [])
        level = f"{finding.level:{_WIDTH}}"
        shown = f"\033[{_COLORS[finding.level]}m{level}\033[0m" if has_colors else level
        print(f"{shown}  {finding.subject:{width}}  " + f"\n{' ' * indent}".join(lines))
    levels = [finding.level for finding in findings]
    warnings = levels.count(Level.WARNING)
    noun = "warning" if warnings == 1 else "warnings"
    print(f"\n{levels.count(Level.WRONG)} wrong, {warnings} {noun}, {levels.count(Level.OK)} ok")
