"""`deploy/kubernetes` as kustomize renders it: each field is one of the API's, and the objects fit one another."""

import base64
import copy
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.routing import APIRoute

from tests.contract.cluster_support import KUBECONFIG
from tests.support import guards
from tests.support.documentation import blocks
from tests.support.kubernetes.rules import MANIFESTS, rules
from tests.support.kubernetes.strict import faults
from tutumd.main.commands import app
from tutumd.settings import environment_warnings, read_settings
from tutumd.web.api import server

OVERLAYS = ("cluster", "namespaces", "try")
PAGE = Path("docs/quickstart/kubernetes.md")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

Object = dict[str, Any]


def render(overlay: str) -> list[Object]:
    guards.require_part("kubernetes")
    done = subprocess.run(
        ["kubectl", "kustomize", str(MANIFESTS / overlay)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="module", params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return render(request.param)


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    return [each for each in objects if each["kind"] in kinds]


def pods(objects: list[Object]) -> Iterator[tuple[Object, Object]]:
    """Yield each workload and its pod template."""
    for workload in of_kind(objects, "Deployment", "StatefulSet"):
        yield workload, workload["spec"]["template"]


def selected(objects: list[Object], labels: dict[str, str]) -> list[Object]:
    """Return the pod templates that have these labels."""
    return [pod for _, pod in pods(objects) if labels.items() <= pod["metadata"]["labels"].items()]


def ports(pod: Object) -> set[str]:
    return {port["name"] for container in pod["spec"]["containers"] for port in container.get("ports", ())}


@pytest.mark.slow
def test_every_field_is_one_of_the_api(objects: list[Object]) -> None:
    assert [line for each in objects for line in faults(each)] == []


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        (("spec", "replica"), 2, "Deployment.spec: unknown field 'replica'"),
        (("spec", "replicas"), "2", "Deployment.spec.replicas: int was wanted, got '2'"),
        (("spec", "selector"), None, "spec.selector: Field required"),
        (("spec", "template", "spec", "containers"), {}, "Deployment.spec.template.spec.containers: a list was wanted"),
    ],
)
def test_the_check_finds_what_the_api_would_refuse(path: tuple[str, ...], value: object, fault: str) -> None:
    web = copy.deepcopy(of_kind(render("cluster"), "Deployment")[0])
    *way, last = path
    place = web
    for name in way:
        place = place[name]
    place[last] = value
    if value is None:
        del place[last]
    assert any(line.startswith(fault) for line in faults(web)), faults(web)


def test_names_are_valid_and_unique(objects: list[Object]) -> None:
    names = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in objects]
    assert len(set(names)) == len(names)
    assert all(_NAME.fullmatch(name) for _, _, name in names)
    clusterwide = {"Namespace", "ClusterRole", "ClusterRoleBinding"}
    assert {kind for kind, namespace, _ in names if namespace is None} <= clusterwide


def test_selectors_find_their_pods_and_no_others(objects: list[Object]) -> None:
    for workload, pod in pods(objects):
        assert selected(objects, workload["spec"]["selector"]["matchLabels"]) == [pod]
        for spread in pod["spec"].get("topologySpreadConstraints", ()):
            assert selected(objects, spread["labelSelector"]["matchLabels"]) == [pod]
    for budget in of_kind(objects, "PodDisruptionBudget"):
        assert len(selected(objects, budget["spec"]["selector"]["matchLabels"])) == 1
    for service in of_kind(objects, "Service"):
        (pod,) = selected(objects, service["spec"]["selector"])
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports(pod)


def test_network_policies_cover_every_pod_by_ports_that_it_has(objects: list[Object]) -> None:
    covered = []
    for policy in of_kind(objects, "NetworkPolicy"):
        (pod,) = selected(objects, policy["spec"]["podSelector"]["matchLabels"])
        covered.append(pod)
        for rule in policy["spec"].get("ingress", ()):
            assert {port["port"] for port in rule["ports"]} <= ports(pod)
            for source in rule.get("from", ()):
                assert len(selected(objects, source["podSelector"]["matchLabels"])) == 3
    assert len(covered) == len(list(pods(objects)))


def test_the_ingress_leads_to_the_service_under_the_public_url(objects: list[Object]) -> None:
    (ingress,) = of_kind(objects, "Ingress")
    (rule,) = ingress["spec"]["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    (service,) = (each for each in of_kind(objects, "Service") if each["metadata"]["name"] == backend["name"])
    assert backend["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}
    assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]
    assert settings(objects)["TUTUMD_PUBLIC_URL"] == f"https://{rule['host']}"


def settings(objects: list[Object]) -> dict[str, str]:
    (config,) = of_kind(objects, "ConfigMap")
    return dict(config["data"])


def test_every_variable_is_a_setting_that_the_server_takes(objects: list[Object]) -> None:
    (config,) = of_kind(objects, "ConfigMap")
    variables = set(settings(objects))
    for workload, pod in pods(objects):
        if workload["metadata"]["name"] == "postgres":
            continue
        (container,) = pod["spec"]["containers"]
        assert container["envFrom"] == [{"configMapRef": {"name": config["metadata"]["name"]}}]
        variables |= {each["name"] for each in container["env"]}
    assert environment_warnings(variables) == []
    named = {name.removeprefix("TUTUMD_").lower(): value for name, value in settings(objects).items()}
    assert read_settings(named).kubernetes_namespaces in (("*",), ("shop",))


def make_secret() -> Object:
    """Return the secret that the page's commands make, without a cluster."""
    (block,) = (block for block in blocks(PAGE) if "kubectl create secret" in block.text)
    without_cluster = 'kubectl() { [ "$1" = apply ] || command kubectl "$@" --dry-run=client --output=yaml; }'
    script = f"{without_cluster}\n{block.text}"
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, check=True)
    return dict(yaml.safe_load(done.stdout))


def test_secrets_are_files_that_the_page_says_how_to_make(objects: list[Object]) -> None:
    secret = make_secret()
    assert (secret["metadata"]["name"], secret["metadata"]["namespace"]) == ("tutumd", "tutumd")
    values = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    assert values["database"] == f"postgresql://tutumd:{values['postgres-password']}@postgres/tutumd"
    assert read_settings({name: values[name.replace("_", "-")] for name in ("database", "secret_key", "admin_apikey")})
    wanted = set()
    for workload, pod in pods(objects):
        (container,) = pod["spec"]["containers"]
        files = {}
        for volume in pod["spec"]["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["secretName"] == "tutumd"
                (mount,) = (each for each in container["volumeMounts"] if each["name"] == volume["name"])
                files = {f"{mount['mountPath']}/{each['path']}": each["key"] for each in volume["secret"]["items"]}
        wanted |= set(files.values())
        named = {each["value"] for each in container["env"] if each["name"].endswith("_FILE")}
        assert named == set(files), workload["metadata"]["name"]
    assert wanted <= values.keys()


def test_pods_may_do_no_more_than_the_restricted_standard(objects: list[Object]) -> None:
    (namespace,) = of_kind(objects, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for _, pod in pods(objects):
        context = pod["spec"]["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["spec"]["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]
        kinds = {next(iter(volume.keys() - {"name"})) for volume in pod["spec"]["volumes"]}
        assert kinds <= {"emptyDir", "secret"}


def test_probes_ask_what_the_server_answers(objects: list[Object]) -> None:
    paths = {route.path for route in server.router.routes if isinstance(route, APIRoute)}
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    for _, pod in pods(objects):
        (container,) = pod["spec"]["containers"]
        if not container["image"].startswith("ghcr.io/tutumd/tutumd:"):
            continue
        assert container["args"][0] in commands
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe, restarts = container[name], name != "readinessProbe"
            if "httpGet" in probe:
                assert probe["httpGet"]["path"] in paths
                assert probe["httpGet"]["path"] == ("/healthz" if restarts else "/readyz")
            else:
                # A restart brings no database back.
                assert probe["exec"]["command"] == ["tutumd", "healthcheck", *(["--live"] if restarts else [])]


def test_only_the_worker_has_an_account_of_the_cluster(objects: list[Object]) -> None:
    (account,) = of_kind(objects, "ServiceAccount")
    for workload, pod in pods(objects):
        if workload["metadata"]["name"] == "tutumd-worker":
            assert pod["spec"]["serviceAccountName"] == account["metadata"]["name"]
        else:
            assert pod["spec"]["automountServiceAccountToken"] is False
    for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "tutumd", "namespace": "tutumd"}]


def test_the_rules_are_those_that_the_engine_is_tested_with(objects: list[Object]) -> None:
    (role,) = of_kind(objects, "Role", "ClusterRole")
    (binding,) = of_kind(objects, "RoleBinding", "ClusterRoleBinding")
    assert role["rules"] == rules("cluster.yaml")
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == (role["kind"], role["metadata"]["name"])
    served = settings(objects)["TUTUMD_KUBERNETES_NAMESPACES"]
    assert role["metadata"].get("namespace", "*") == binding["metadata"].get("namespace", "*") == served


def test_pods_have_time_for_the_stop_that_they_are_given(objects: list[Object]) -> None:
    grace_s = read_settings({}).grace
    for workload, pod in pods(objects):
        if workload["metadata"]["name"] == "postgres":
            continue
        (container,) = pod["spec"]["containers"]
        delays = [each["value"] for each in container["env"] if each["name"] == "TUTUMD_STOP_DELAY"]
        pause_s = read_settings({"stop_delay": delays[0] if delays else None}).stop_delay
        assert pod["spec"]["terminationGracePeriodSeconds"] >= pause_s + grace_s + 5
        assert workload["spec"]["replicas"] == 2
        assert workload["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


if KUBECONFIG:

    @pytest.mark.parametrize("overlay", OVERLAYS)
    def test_a_real_cluster_takes_the_objects(overlay: str) -> None:
        """It checks them as if they were applied, and keeps nothing but the namespaces that they need."""
        kubectl = ["kubectl", "--kubeconfig", KUBECONFIG]
        for name in {each["metadata"].get("namespace") for each in render(overlay)} - {None}:
            made = subprocess.run([*kubectl, "create", "namespace", name], capture_output=True, text=True, check=False)
            assert made.returncode == 0 or "AlreadyExists" in made.stderr, made.stderr
        command = [*kubectl, "apply", "--dry-run=server", "--validate=strict", "-k", str(MANIFESTS / overlay)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
