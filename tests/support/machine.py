"""Debian packages that the tests need. As a program, it prints those that this machine lacks."""

import os
import shutil
import subprocess

# Each program, and the packages that contain it: the first one that this release of Debian has is installed.
_DOCKER = {
    "dockerd": ("docker.io",),
    "docker": ("docker-cli", "docker.io"),
    "docker-compose": ("docker-compose",),
    "docker-registry": ("docker-registry",),
    "busybox": ("busybox-static",),
    "ip": ("iproute2",),
    "iptables": ("iptables",),
    "openssl": ("openssl",),
    "nsenter": ("util-linux",),
}
_IMAGE = {"docker-buildx": ("docker-buildx",), "debootstrap": ("debootstrap",), "setpriv": ("util-linux",)}
_PODMAN = {**_DOCKER, "podman": ("podman",), "aardvark-dns": ("aardvark-dns",)}
PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "docker": _DOCKER,
    "podman": _PODMAN,
    "image": {**_DOCKER, **_IMAGE},
    "snippets": {
        "curl": ("curl",),
        "jq": ("jq",),
        "openssl": ("openssl",),
        "shellcheck": ("shellcheck",),
        "wget": ("wget",),
    },
    "ssh": {"sshd": ("openssh-server",), "ssh": ("openssh-client",), "docker": ("docker-cli", "docker.io")},
    "haproxy": {"haproxy": ("haproxy",)},
    "nginx": {"nginx": ("nginx-light", "nginx")},
    "prometheus": {"prometheus": ("prometheus",), "promtool": ("prometheus",)},
    "caddy": {"caddy": ("caddy",)},
    "chromium": {"chromium": ("chromium",)},
    "kubernetes": {"kubectl": ("kubernetes-client",)},
    "systemd": {"systemd-analyze": ("systemd",), "nsenter": ("util-linux",), "curl": ("curl",)},
    "postgresql": {"pg_ctlcluster": ("postgresql",), "pgbouncer": ("pgbouncer",)},
}


def missing_packages(part: str | None = None) -> list[str]:
    """Return the packages to install for one part of the tests, or for all of them, each once."""
    # The PATH of an ordinary user lacks the folders of half of these programs.
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin:/usr/lib/podman:/usr/libexec/docker/cli-plugins"
    parts = PARTS.values() if part is None else [PARTS[part]]
    programs = [each for programs in parts for each in programs.items()]
    missing = [packages for program, packages in programs if shutil.which(program, path=path) is None]
    return list(dict.fromkeys(_first_known(packages) for packages in missing))


def _first_known(packages: tuple[str, ...]) -> str:
    if len(packages) > 1 and shutil.which("apt-cache"):
        for package in packages:
            shown = subprocess.run(
                ["apt-cache", "show", "--no-all-versions", package], capture_output=True, check=False
            )
            if shown.returncode == 0:
                return package
    return packages[0]


if __name__ == "__main__":
    print(" ".join(missing_packages()))
