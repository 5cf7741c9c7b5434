"""Access to a cluster: a kubeconfig or the service account of the pod of this process, and its permissions."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config
from kubernetes.config.incluster_config import InClusterConfigLoader
from urllib3.util.retry import Retry

from tutumd.engines.kubernetes.requests import Request
from tutumd.errors import EngineUnavailableError, Reason, SettingsError
from tutumd.model.figures import Finding, Level, compare_clocks, ok

# The official client's ApiClient. It has no type because it is used below its generated methods, for plain JSON.
Client = Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The location of the credentials. `connect` reads them again each time, so that renewed credentials are used.

    Attributes:
        kubeconfig: One file, or several separated by colons; empty means the pod's service account.
        context: Context of the kubeconfig; None means its current one.
        namespace: The namespace of the context or of the account.
    """

    kubeconfig: str
    context: str | None
    namespace: str
    account: Path = ACCOUNT
    environment: Mapping[str, str]

    def connect(self) -> Client:
        """Return a new client, after running the kubeconfig's exec plugin if there is one.

        Raises:
            EngineUnavailableError: The credentials cannot be read now.
        """
        settings: Any = client.Configuration()
        # Safe to retry: if connecting failed, nothing was sent, and a closed idle connection shows on reading.
        settings.retries = Retry(
            1, status=0, redirect=0, other=0, allowed_methods={"GET"}, respect_retry_after_header=False
        )
        settings.keep_alive = True
        try:
            if self.kubeconfig:
                return config.new_client_from_config(self.kubeconfig, self.context, False, settings)
            loader = InClusterConfigLoader(
                str(self.account / "token"), str(self.account / "ca.crt"), environ=self.environment
            )
            loader.load_and_set(settings)
            return client.ApiClient(settings)
        except (config.ConfigException, OSError, ValueError, yaml.YAMLError) as error:
            raise EngineUnavailableError(
                f"cannot read the credentials for the cluster: {error}",
                (Reason("credentials-unreadable", (self.kubeconfig or str(self.account), str(error))),),
            ) from error


def find_access(
    kubeconfig: str, context: str | None, environment: Mapping[str, str], *, account: Path = ACCOUNT
) -> Access:
    """Return the access by a kubeconfig if there is one, else by the pod's service account. Connects to nothing.

    Args:
        kubeconfig: Value of KUBECONFIG; empty means `~/.kube/config` if that exists.

    Raises:
        SettingsError: There is neither, or the context does not exist.
    """
    usual = Path(environment.get("HOME") or "~").expanduser() / ".kube" / "config"
    chosen = kubeconfig or (str(usual) if usual.exists() else "")
    if chosen:
        namespace = _context_namespace(chosen, context)
        return Access(kubeconfig=chosen, context=context, namespace=namespace, environment=environment)
    if context is not None:
        raise SettingsError(f"the context {context!r} needs a kubeconfig: set KUBECONFIG, or make {usual}")
    if not (account / "token").exists():
        raise SettingsError(
            "the engine kubernetes found no cluster: set KUBECONFIG to a kubeconfig, or run in a pod with a "
            "service account"
        )
    file = account / "namespace"
    namespace = (file.read_text(encoding="utf-8").strip() if file.exists() else "") or _DEFAULT_NAMESPACE
    return Access(kubeconfig="", context=None, namespace=namespace, account=account, environment=environment)


def _context_namespace(kubeconfig: str, context: str | None) -> str:
    try:
        contexts, current = config.list_kube_config_contexts(kubeconfig)
    except (config.ConfigException, OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise SettingsError(f"cannot use the kubeconfig {kubeconfig}: {error}") from error
    by_name = {entry["name"]: entry.get("context") or {} for entry in contexts}
    name = context or current["name"]
    if name not in by_name:
        known = ", ".join(sorted(by_name)) or "none"
        raise SettingsError(f"the kubeconfig {kubeconfig} has no context {name!r}, only {known}")
    return str(by_name[name].get("namespace") or _DEFAULT_NAMESPACE)


_KINDS = ("deployments", "statefulsets", "daemonsets")
_PERMISSIONS = (
    (True, "apps", _KINDS, "get list watch", "no {} are found"),
    (True, "apps", _KINDS, "patch", "{} cannot be redeployed"),
    (False, "apps", ("deployments/scale", "statefulsets/scale"), "get update", "nothing can be scaled"),
    (True, "", ("pods",), "list watch", "no redeploy can be judged"),
    (False, "", ("pods",), "delete", "a StatefulSet that is stuck stays so"),
    (False, "", ("pods/log",), "get", "no output can be shown"),
    (False, "", ("events",), "list", "it is told late why no pod is created"),
    (False, "autoscaling", ("horizontalpodautoscalers",), "list", "nothing can be scaled"),
    (False, "autoscaling", ("horizontalpodautoscalers",), "patch", "tutum.scale.hpa=raise-min has no effect"),
)
# The requests that must be permitted, the feature that needs each, and whether a redeploy needs it.
PERMISSIONS = tuple(
    (Request(verb=verb, group=group, resource=resource), purpose.format(resource), is_vital)
    for is_vital, group, resources, verbs, purpose in _PERMISSIONS
    for resource in resources
    for verb in verbs.split()
)


def check_connection(subject: str, read_version: Callable[[], tuple[str, str]]) -> Iterator[Finding]:
    """Yield whether the cluster responds, and whether its clock is right."""
    before = time.time()
    version, date = read_version()
    yield ok(subject, f"answers: Kubernetes {version}".strip())
    if date:  # in whole seconds
        yield from compare_clocks(subject, parsedate_to_datetime(date).timestamp(), before - 1, time.time())


def check_permissions(
    subject: str, namespaces: Sequence[str], is_allowed: Callable[[Request], bool]
) -> Iterator[Finding]:
    """Yield the missing permissions.

    Args:
        namespaces: Empty names mean all.
        is_allowed: Checks whether a request is permitted.
    """
    for namespace in namespaces:
        place = f"in the namespace {namespace}" if namespace else "in all namespaces"
        missing = [row for row in PERMISSIONS if not is_allowed(replace(row[0], namespace=namespace))]
        file = "namespace/namespace.yaml" if namespace else "cluster/cluster.yaml"
        option = f" --namespace {namespace}" if namespace else ""
        for request, purpose, is_vital in missing:
            yield Finding(
                subject=subject,
                level=Level.WRONG if is_vital else Level.WARNING,
                text=f"may not {request.verb} {request.resource} {place}: {purpose}",
                mend=f"kubectl apply{option} --filename deploy/kubernetes/{file}",
            )
        if not missing:
            yield ok(subject, f"has each of the {len(PERMISSIONS)} permissions {place}")
