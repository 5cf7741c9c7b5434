"""A real Prometheus scrapes a real server: all that the dashboard and the alerts ask for is there."""

import json
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.guards import require_part
from tests.support.programs import finished, running
from tests.support.server import LiveServer, free_port
from tests.support.waiting import wait_until

OBSERVE = Path(__file__).parents[2] / "deploy" / "observe"
TOKEN = "token-of-prometheus-0123456789"
GUIDE = OBSERVE.parents[1] / "docs" / "how-to" / "observe.md"
OF_ISSUERS = "tutumd_issuer_keys_age_seconds"
"""It has a series for each issuer that a handler names, and no handler names one here."""
METRIC = re.compile(r"\btutumd_\w+")


class Prometheus:
    """A Prometheus server with the configuration of the guide, which scrapes one tutumd."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression now."""
        url = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        with urllib.request.urlopen(url, timeout=30) as response:
            found: list[dict[str, Any]] = json.load(response)["data"]["result"]
        return found

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=30):
                return True
        except OSError:
            return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    environment = {"TUTUMD_METRICS_TOKEN": TOKEN}
    with LiveServer(tmp_path_factory.mktemp("scraped"), "--engine", "local", environment=environment) as server:
        yield server


@pytest.fixture(scope="module")
def prometheus(server: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    require_part("prometheus")
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    (folder / "token").write_text(TOKEN)
    (folder / "alerts.yaml").write_text((OBSERVE / "alerts.yaml").read_text())
    config = "\n".join(re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL))
    for there, here in (
        ("hooks.example.com", f"127.0.0.1:{server.port}"),
        ("scheme: https", "scheme: http"),
        ("/etc/prometheus/tutumd-token", str(folder / "token")),
    ):
        assert there in config
        config = config.replace(there, here)
    (folder / "prometheus.yml").write_text(f"global: {{scrape_interval: 5s, evaluation_interval: 5s}}\n{config}")
    command = [
        *("prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"),
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "output").open("wb") as output, running(command, stdout=output, stderr=output):
        found = Prometheus(port)
        wait_until(found.is_ready, "Prometheus is ready", timeout_s=120)
        wait_until(lambda: value(found, 'up{job="tutumd"}') == 1, "the server was scraped", timeout_s=120)
        yield found


@pytest.fixture(scope="module")
def worked(server: LiveServer, prometheus: Prometheus) -> None:
    """The server has performed an action between two scrapes."""
    url = server.make_handler(server.run_service("scraped"))["url"]
    assert server.post(f"{url}?wait=120").status == 200
    done = 'tutumd_actions_total{operation="REDEPLOY",result="success"}'
    wait_until(lambda: value(prometheus, done) == 1, "the action was scraped", timeout_s=120)


def value(prometheus: Prometheus, expression: str) -> float | None:
    found = prometheus.query(expression)
    return float(found[0]["value"][1]) if found else None


def dashboard_expressions() -> list[str]:
    panels = json.loads((OBSERVE / "dashboard.json").read_text())["panels"]
    texts = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    return [text.replace("$__rate_interval", "1m").replace("$engine", ".*") for text in texts]


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((OBSERVE / "alerts.yaml").read_text())["groups"]
    return list(group["rules"])


@pytest.mark.slow
@pytest.mark.parametrize("expression", dashboard_expressions())
def test_each_panel_of_the_dashboard_has_data(worked: None, prometheus: Prometheus, expression: str) -> None:
    # A scrape that took too long leaves a gap.
    found = wait_until(lambda: prometheus.query(expression), f"{expression} has data", timeout_s=120)
    assert not METRIC.search(json.dumps([series["metric"] for series in found]))


@pytest.mark.slow
def test_each_metric_of_the_alerts_exists(worked: None, prometheus: Prometheus) -> None:
    names = {name for alert in alerts() for name in METRIC.findall(alert["expr"])}
    names.remove(OF_ISSUERS)
    assert names
    for name in names:
        wait_until(lambda name=name: prometheus.query(name), f"{name} exists", timeout_s=120)  # type: ignore[misc] # early binding


def test_no_alert_fires_while_all_is_well(worked: None, prometheus: Prometheus) -> None:
    # A machine that runs all tests may be as slow as the one alert about times says.
    for alert in [each for each in alerts() if each["alert"] != "TutumdCallsSlow"]:
        # An alert fires once this is so for some time, and a scrape that took too long is no fault.
        wait_until(lambda expr=alert["expr"]: not prometheus.query(expr), f"no {alert['alert']}", timeout_s=120)  # type: ignore[misc] # early binding


@pytest.mark.slow
def test_the_rules_are_valid_and_fire_when_they_should() -> None:
    require_part("prometheus")
    for command in (("check", "rules", "alerts.yaml"), ("test", "rules", "alerts_test.yaml")):
        done = finished(["promtool", *command], cwd=OBSERVE)
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tested() -> None:
    groups = yaml.safe_load((OBSERVE / "alerts_test.yaml").read_text())["tests"]
    fired = {each["alertname"] for group in groups for each in group["alert_rule_test"] if each.get("exp_alerts")}
    assert fired == {alert["alert"] for alert in alerts()}


def test_names_and_units_are_as_prometheus_wants_them(worked: None, server: LiveServer) -> None:
    text = server.request("GET", "/metrics", authorization=f"Bearer {TOKEN}").body
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_the_guide_names_each_metric(worked: None, prometheus: Prometheus) -> None:
    named = set(re.findall(r"^\| `(tutumd_\w+)`", GUIDE.read_text(), re.MULTILINE))

    def known() -> set[str]:
        names = {series["metric"]["__name__"] for series in prometheus.query('{__name__=~"tutumd_.*"}')}
        return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names} | {OF_ISSUERS}

    assert (
        wait_until(
            lambda: "tutumd_actions_total" in (found := known()) and found, "the last scrape is there", timeout_s=120
        )
        == named
    )
