"""Access to a cluster: a kubeconfig with its exec plugins, or the service account of the pod that tutumd runs in."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config
from kubernetes.config.incluster_config import InClusterConfigLoader
from urllib3.util.retry import Retry

from tutumd.errors import EngineUnavailableError, SettingsError

# The official client's ApiClient. It has no type because it is used below its generated methods, for plain JSON.
Client = Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The place of the credentials. `connect` reads them again each time, so that renewed ones are used.

    Attributes:
        kubeconfig: One file or several separated by colons; empty means the pod's service account.
        context: Context of the kubeconfig; None means its current one.
        namespace: The namespace of the context or of the account.
    """

    kubeconfig: str
    context: str | None
    namespace: str
    account: Path = ACCOUNT
    environment: Mapping[str, str]

    def connect(self) -> Client:
        """Return a new client, after running the kubeconfig's exec plugin if it has one.

        Raises:
            EngineUnavailableError: The credentials cannot be read now.
        """
        settings: Any = client.Configuration()
        # Safe to retry: nothing was sent if connecting failed, and a closed idle connection shows when reading.
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
            raise EngineUnavailableError(f"cannot read the credentials for the cluster: {error}") from error


def find_access(
    kubeconfig: str, context: str | None, environment: Mapping[str, str], *, account: Path = ACCOUNT
) -> Access:
    """Return the access by a kubeconfig if there is one, else by the pod's service account. Connects to nothing.

    Args:
        kubeconfig: Value of KUBECONFIG; empty means `~/.kube/config` if that exists.

    Raises:
        SettingsError: There is neither, or no such context.
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
    try:
        namespace = (account / "namespace").read_text(encoding="utf-8").strip()
    except OSError:
        namespace = ""
    return Access(
        kubeconfig="",
        context=None,
        namespace=namespace or _DEFAULT_NAMESPACE,
        account=account,
        environment=environment,
    )


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
