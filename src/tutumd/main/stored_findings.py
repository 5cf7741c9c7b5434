"""Findings of `tutumd doctor` about the contents of the database."""

from collections.abc import Iterator
from ipaddress import ip_address

from tutumd.application.health import explain_delay
from tutumd.model.figures import Finding, ok, warning, wrong
from tutumd.model.issuers import MAX_KEYS_AGE
from tutumd.ports import HEARTBEAT_TIMEOUT
from tutumd.settings import Settings
from tutumd.store.upkeep.checkup import Contents

WORKER, NOTIFIER, ISSUERS, CALLS = "worker", "notifier", "issuers", "calls"
_MANY_CALLS = 5


def check_workers(contents: Contents) -> Iterator[Finding]:
    """Yield for each engine that a worker ever served whether a worker serves it now."""
    if not contents.engines:
        yield warning(WORKER, "no worker has started yet", "start tutumd serve, or tutumd worker beside tutumd web")
    for name, (seen, error) in sorted(contents.engines.items()):
        age = contents.now - seen
        if age > HEARTBEAT_TIMEOUT:
            yield wrong(
                WORKER,
                f"no worker has served the engine {name} since {seen:%Y-%m-%d %H:%M:%S} UTC: its actions wait",
                "start tutumd serve or worker with that engine, or read its log",
            )
        elif error:
            yield wrong(WORKER, f"the worker of the engine {name} reports: {error}", f"see the engine {name} above")
        else:
            yield ok(WORKER, f"the worker of the engine {name} reported {max(0.0, age.total_seconds()):.0f} s ago")


def check_notifications(contents: Contents) -> Iterator[Finding]:
    """Yield whether notifications are sent."""
    state = explain_delay(contents.notification_delay_s)
    if state != "ok":
        yield wrong(NOTIFIER, state, "start tutumd serve, or tutumd notifier beside tutumd web, or read its log")
    if contents.disabled:
        yield warning(
            NOTIFIER,
            f"notification targets that the server disabled, because nothing reached them: {contents.disabled}",
            "correct and enable them: tutum notification target list",
        )
    if contents.dead:
        yield warning(
            NOTIFIER,
            f"notifications that could not be sent, within 30 days: {contents.dead}",
            "read their reasons: tutum notification list --status dead",
        )
    if state == "ok" and not contents.targets:
        yield ok(NOTIFIER, "there are no notification targets: nobody is notified of failures")
    elif state == "ok":
        yield ok(NOTIFIER, f"no notification is late; targets: {contents.targets}")


def check_issuers(contents: Contents) -> Iterator[Finding]:
    """Yield for each issuer of identity tokens that a handler names whether its keys are usable."""
    for url, (fetched, error) in sorted(contents.issuers.items()):
        age = None if fetched is None else contents.now - fetched
        if age is not None and age <= MAX_KEYS_AGE:
            yield ok(ISSUERS, f"the keys of {url} were fetched {age.total_seconds() / 60:.0f} minutes ago")
            continue
        since = f"since {fetched:%Y-%m-%d %H:%M} UTC" if fetched else "yet"
        yield wrong(
            ISSUERS,
            f"the keys of {url} were not fetched {since}, so calls with its identity tokens get 503:"
            f" {error or 'no notifier has tried'}",
            "start tutumd serve or notifier, and let it reach the issuer (docs/how-to/oidc.md)",
        )


def check_calls(settings: Settings, contents: Contents) -> Iterator[Finding]:
    """Yield whether the server sees the addresses of its callers."""
    is_behind_proxy = bool(settings.public_url or settings.trusted_proxies)
    caller = contents.direct[0] if len(set(contents.direct)) == 1 else ""
    if is_behind_proxy and len(contents.direct) >= _MANY_CALLS and caller and ip_address(caller).is_private:
        yield warning(
            CALLS,
            f"the last {len(contents.direct)} calls came from {caller}, a private address:"
            " allow_from and limits see one caller",
            f"if {caller} is your proxy, let it send X-Forwarded-For and set TUTUMD_TRUSTED_PROXIES={caller}:"
            " see docs/how-to/proxy.md",
        )
        return
    yield ok(CALLS, "no call has come yet" if contents.newest is None else "the addresses of callers look right")
