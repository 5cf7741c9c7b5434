"""Access of the engine `kubernetes` to its cluster: kubeconfigs, exec plugins, the account of a pod, and RBAC."""

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.contract import kubernetes_support as kube
from tests.contract.kubernetes_support import AGENT, DB, WEB
from tests.support.kubernetes import kubelets
from tests.support.kubernetes.api import ApiRequest, FakeCluster
from tests.support.kubernetes.rules import granted, rules
from tests.support.kubernetes.workloads import autoscaler, container, daemon_set, deployment, stateful_set, template
from tests.support.runs import FakeRun
from tests.support.waiting import wait_until
from tutumd.engines.kubernetes.access import find_access
from tutumd.errors import EngineUnavailableError, SettingsError

PROBED = container(probed=True)


def plugin(folder: Path, token: str, *, fails: bool = False) -> dict[str, Any]:
    """Return a user of a kubeconfig whose token comes from a program. Each run of it adds a line to a file."""
    version = "client.authentication.k8s.io/v1"
    answer = {"apiVersion": version, "kind": "ExecCredential", "status": {"token": token}}
    program = folder / "plugin.py"
    lines = (
        f"open({str(folder / 'runs')!r}, 'a').write('run\\n')",
        f"print({json.dumps(answer)!r})",
        f"raise SystemExit({fails:d})",
    )
    program.write_text("\n".join(lines))
    return {"exec": {"apiVersion": version, "command": sys.executable, "args": [str(program)]}}


def test_an_exec_plugin_runs_again_when_its_credentials_are_refused(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.token = "the first"
    user = plugin(tmp_path, "the first")
    with kube.opened(cluster, tmp_path, user=user) as engine:
        assert not (tmp_path / "runs").exists()
        assert engine.discover() == engine.discover() == ()
        assert (tmp_path / "runs").read_text() == "run\n"
        cluster.token = "the second"
        plugin(tmp_path, "the second")
        with pytest.raises(EngineUnavailableError, match="the cluster refused the credentials"):
            engine.discover()
        assert engine.discover() == ()


def test_a_plugin_that_fails_is_reported_without_its_output(cluster: FakeCluster, tmp_path: Path) -> None:
    user = plugin(tmp_path, "secret-token", fails=True)
    refused = pytest.raises(EngineUnavailableError, match="refused the credentials")
    with kube.opened(cluster, tmp_path, user=user) as engine, refused as caught:
        engine.discover()
    assert "secret-token" not in str(caught.value)


def test_a_renewed_kubeconfig_is_read_afresh(cluster: FakeCluster, tmp_path: Path) -> None:
    with kube.opened(cluster, tmp_path) as engine:
        assert engine.discover() == ()
        cluster.token = "renewed"
        cluster.write_kubeconfig(tmp_path / "kubeconfig")
        with pytest.raises(EngineUnavailableError):
            engine.discover()
        assert engine.discover() == ()


def test_the_account_of_a_pod_is_used_where_there_is_no_kubeconfig(tmp_path: Path) -> None:
    account = tmp_path / "account"
    account.mkdir()
    environment = {"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(SettingsError, match="set KUBECONFIG to a kubeconfig, or run in a pod"):
        find_access("", None, environment, account=account)
    (account / "token").write_text("of the account")
    (account / "ca.crt").write_text("a certificate")
    assert find_access("", None, environment, account=account).namespace == "default"
    for text, namespace in (("\n", "default"), ("tutumd", "tutumd")):
        (account / "namespace").write_text(text)
        access = find_access("", None, environment, account=account)
        assert access.namespace == namespace
    with pytest.raises(SettingsError, match="the context 'prod' needs a kubeconfig"):
        find_access("", "prod", environment, account=account)
    settings = access.connect().configuration
    assert (settings.host, settings.ssl_ca_cert) == ("https://10.0.0.1:443", str(account / "ca.crt"))
    assert settings.api_key == {"BearerToken": "bearer of the account"}
    (account / "token").unlink()
    with pytest.raises(EngineUnavailableError, match="cannot read the credentials"):
        access.connect()


def test_the_usual_kubeconfig_comes_before_the_account_and_contexts_are_checked(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    (tmp_path / ".kube").mkdir()
    usual = cluster.write_kubeconfig(tmp_path / ".kube" / "config", namespace="from-context")
    access = find_access("", None, {"HOME": str(tmp_path)})
    assert (access.kubeconfig, access.namespace) == (usual, "from-context")
    assert find_access(usual, "test", {}).namespace == "from-context"
    with pytest.raises(SettingsError, match="has no context 'prod', only test"):
        find_access(usual, "prod", {})
    with pytest.raises(SettingsError, match="cannot use the kubeconfig"):
        find_access(str(tmp_path / "absent"), None, {})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("manifest", "namespaces"),
    [pytest.param("namespace.yaml", ("shop",), marks=pytest.mark.nightly), ("cluster.yaml", ("*",))],
)
def test_the_rules_grant_what_the_engine_needs_and_nothing_more(
    cluster: FakeCluster, tmp_path: Path, manifest: str, namespaces: tuple[str, ...]
) -> None:
    allowed = granted(manifest)
    every = namespaces == ("*",)
    cluster.allowed = lambda request: request.permission in allowed and (every or request.namespace == "shop")
    kube.create(cluster, deployment(annotations={"tutum.scale.hpa": "raise-min"}, template=template(PROBED)))
    kube.create(cluster, deployment("plain", template=template(PROBED, name="plain")))
    kube.create(cluster, stateful_set(template=template(PROBED, name="db")))
    kube.create(cluster, daemon_set(template=template(PROBED, name="agent")))
    cluster.store.create("horizontalpodautoscalers", autoscaler())
    plain = kube.service("deployment/shop/plain")
    with kube.opened(cluster, tmp_path, *namespaces) as engine:
        stop = threading.Event()
        thread = threading.Thread(target=engine.watch, args=(lambda: None, stop))
        thread.start()
        wait_until(lambda: len([request for request in cluster.requests if request.verb == "watch"]) >= 4, "watches")
        stop.set()
        thread.join(timeout=60)
        assert len(engine.discover()) == 4
        verbs: list[Callable[[], Any]] = [
            lambda: engine.redeploy(WEB, FakeRun()),
            lambda: engine.redeploy(AGENT, FakeRun()),
            lambda: engine.scale(WEB, 3, FakeRun()),
            lambda: engine.scale(plain, 3, FakeRun()),
            lambda: engine.scale(DB, 2, FakeRun()),
            lambda: engine.stop(plain, FakeRun()),
            lambda: engine.start(plain, FakeRun()),
        ]
        for verb in verbs:
            assert verb().success
        assert engine.redeploy(DB, FakeRun(tag=kubelets.CRASHING)).rolled_back
        cluster.controllers.quota = 0
        assert engine.scale(DB, 4, FakeRun()).rolled_back
    assert {request.permission for request in cluster.requests} == allowed


def test_both_roles_allow_the_same() -> None:
    assert rules("namespace.yaml") == rules("cluster.yaml")


def test_requests_are_recorded_as_rbac_sees_them(cluster: FakeCluster, tmp_path: Path) -> None:
    with kube.opened(cluster, tmp_path) as engine:
        engine.inspect(WEB)
    assert cluster.requests == [ApiRequest("get", "apps", "deployments", "shop", "web", {})]
