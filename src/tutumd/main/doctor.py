"""`tutumd doctor`: looks at everything that a redeploy needs, beside a running server or before one starts."""

import json
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from threading import Thread
from typing import Any

from tutumd import logs
from tutumd.application.calls import StatusTokens
from tutumd.engines.rollout.clock_skew import compare_clocks
from tutumd.errors import SettingsError, TutumdError
from tutumd.main import engines
from tutumd.main.missing import tell_missing
from tutumd.main.public_url_check import check_public_url
from tutumd.main.server_checks import (
    check_calls,
    check_database,
    check_folder,
    check_key,
    check_workers,
    read_cipher,
)
from tutumd.model import Finding, Level, Reference
from tutumd.model.findings import ok, warning, wrong
from tutumd.settings import Settings, environment_warnings, read_settings
from tutumd.store.upkeep.checkup import Contents
from tutumd.web.uris import status_uri

_LIMIT_S = 12.0
"""What one check may take. They run side by side, in two rounds."""

_ALL_ADDRESSES = ("0.0.0.0", "::")  # noqa: S104 (only compared)
_COLORS = {Level.OK: "32", Level.WARNING: "33", Level.WRONG: "31"}
_WIDTH = max(len(level) for level in Level)

Check = Callable[[], Iterable[Finding]]


def doctor(options: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what was found. Raises SystemExit with 1 if something is wrong."""
    logs.configure("critical")  # what the checks would log they return
    findings = [_redacted(finding) for finding in examine(options)]
    if as_json:
        print(json.dumps({"version": version("tutumd"), "findings": [asdict(each) for each in findings]}, indent=2))
    else:
        _print(findings)
    sys.stdout.flush()
    # Not by an exception: threads of checks that hang must not keep the process.
    os._exit(1 if any(finding.level is Level.WRONG for finding in findings) else 0)


def examine(options: Mapping[str, Any]) -> list[Finding]:
    """Return all findings, within half a minute."""
    findings = [warning("settings", text, "rename or unset it") for text in environment_warnings(os.environ)]
    try:
        settings = read_settings(options)
    except SettingsError as error:
        mend = "correct it, and run tutumd doctor again: without it nothing else can be looked at"
        return [*findings, *(wrong("settings", text, mend) for text in str(error).splitlines())]
    specs: list[engines.Spec] = []
    try:
        specs = engines.find_specs(settings)
    except TutumdError as error:
        findings.append(wrong("settings", str(error), "correct it: no engine can be looked at before"))
    else:
        findings.append(ok("settings", f"each is valid (tutumd {version('tutumd')})"))
    read: list[Contents] = []
    findings += run_checks(
        {"data folder": lambda: check_folder(settings), "database": lambda: _check_database(settings, read)}
    )
    contents = read[0] if read else None
    installation = contents.installation if contents else ""
    engine_checks = {f"engine {spec.name}": _engine_check(spec, settings, installation) for spec in specs}
    return findings + run_checks({**engine_checks, **_later_checks(settings, contents)})


def run_checks(checks: Mapping[str, Check], limit_s: float = _LIMIT_S) -> list[Finding]:
    """Run checks side by side, and return what they find in their order. One that takes too long is a finding."""
    results: dict[str, list[Finding]] = {}

    def run(subject: str, check: Check) -> None:
        try:
            results[subject] = list(check())
        except ModuleNotFoundError as error:
            results[subject] = [wrong(subject, tell_missing(error.name or ""), "then run tutumd doctor again")]
        except Exception as error:  # noqa: BLE001 (a doctor that dies of what it looks at helps nobody)
            text = f"cannot be looked at: {type(error).__name__}: {error}"
            results[subject] = [wrong(subject, text, "report this: it is a fault of tutumd doctor")]

    threads = {subject: Thread(target=run, args=(subject, check), daemon=True) for subject, check in checks.items()}
    end = time.monotonic() + limit_s
    for thread in threads.values():
        thread.start()
    for thread in threads.values():
        thread.join(max(0.0, end - time.monotonic()))
    hanging = "does not answer: look whether it hangs, or a firewall drops packets to it"
    silent = {subject: [wrong(subject, f"was silent for {limit_s:g} s", hanging)] for subject in checks}
    return [finding for subject in checks for finding in results.get(subject, silent[subject])]


def _later_checks(settings: Settings, contents: Contents | None) -> dict[str, Check]:
    checks: dict[str, Check] = {"key": lambda: check_key(settings, contents)}
    if contents is not None:
        checks["worker"] = lambda: check_workers(contents)
        checks["calls"] = lambda: check_calls(settings, contents)
    if settings.public_url:
        serves_others = settings.host in _ALL_ADDRESSES
        checks["public URL"] = lambda: check_public_url(
            settings.public_url, _status_path(settings, contents), serves_others=serves_others
        )
    elif settings.trusted_proxies:
        text = "is not set: URLs that are printed begin with the address by which tutum reached the server"
        mend = "set TUTUMD_PUBLIC_URL to what senders use, such as https://hooks.example.com"
        checks["public URL"] = lambda: [warning("public URL", text, mend)]
    return checks


def _check_database(settings: Settings, read: list[Contents]) -> list[Finding]:
    before = time.time()
    findings, contents = check_database(settings)
    if contents is not None:
        read.append(contents)
        if contents.now is not None:
            findings += compare_clocks("database", contents.now.timestamp(), before, time.time())
    return findings


def _engine_check(spec: engines.Spec, settings: Settings, installation: str) -> Check:
    subject = f"engine {spec.name}"

    def check() -> Sequence[Finding]:
        if spec.kind == "local" and not os.access(engines.local_folder(spec, settings), os.F_OK):
            return [ok(subject, "runs services as processes of this machine; none was started yet")]
        try:
            with closing(engines.build_engine(spec, settings, installation)) as engine:
                return engine.check()
        except SettingsError as error:
            return [wrong(subject, str(error), "correct --engine and what it names")]

    return check


def _status_path(settings: Settings, contents: Contents | None) -> str | None:
    """Return a path that only a server with this key and this database answers."""
    try:
        cipher = read_cipher(settings)
    except SettingsError:
        return None
    if cipher is None or contents is None or contents.call is None:
        return None
    return status_uri(StatusTokens(cipher.derive("status")).make(Reference(*contents.call)))


def _redacted(finding: Finding) -> Finding:
    text, mend = (" ".join(logs.redact(text).split()) for text in (finding.text, finding.mend))
    return Finding(subject=finding.subject, level=finding.level, text=text, mend=mend)


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
        print(f"{shown}  {finding.subject:{width}}  {lines[0]}")
        for line in lines[1:]:
            print(" " * indent + line)
    counts = {level: sum(finding.level is level for finding in findings) for level in Level}
    warnings = f"{counts[Level.WARNING]} {'warning' if counts[Level.WARNING] == 1 else 'warnings'}"
    print(f"\n{counts[Level.WRONG]} wrong, {warnings}, {counts[Level.OK]} ok")
