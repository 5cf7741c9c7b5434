"""How a cluster is reached: by a kubeconfig with its exec plugins, or by the account of the pod that we run in."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config
from kubernetes.config.incluster_config import InClusterConfigLoader
from urllib3.util.retry import Retry

from tutumd.errors import EngineUnavailableError, SettingsError

Client = Any
"""The official client's ApiClient. Untyped on purpose: it is used below its generated methods, for plain JSON."""

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where credentials are. `connect` reads them afresh, so that renewed ones count.

    Attributes:
        kubeconfig: One file or several separated by colons; empty means the pod's account.
        context: Of the kubeconfig; None means its current one.
        namespace: The context's or the account's own.
    """

    kubeconfig: str
    context: str | None
    namespace: str
    account: Path = ACCOUNT
    environment: Mapping[str, str]

    def connect(self) -> Client:
        """Make a client; runs the kubeconfig's exec plugin if it has one.

        Raises:
            EngineUnavailableError: the credentials cannot be read now.
        """
        settings: Any = client.Configuration()
        # Nothing was sent when connecting failed; an idle connection that the server closed is met when reading.
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
    """Choose the kubeconfig if there is one, else the account of the pod that we run in. Connects to nothing.

    Args:
        kubeconfig: Of KUBECONFIG; empty means `~/.kube/config` if that is there.

    Raises:
        SettingsError: there is neither, or no such context.
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
    wanted = context or current["name"]
    found = next((one for one in contexts if one["name"] == wanted), None)
    if found is None:
        known = ", ".join(sorted(one["name"] for one in contexts))
        raise SettingsError(f"the kubeconfig {kubeconfig} has no context {wanted!r}, only {known or 'none'}")
    return str((found.get("context") or {}).get("namespace") or _DEFAULT_NAMESPACE)
