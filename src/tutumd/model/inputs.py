"""Forms of the inputs that calls hand to a redeploy. Handlers accept nothing else, and workers use nothing else."""

import re

TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
"""An image tag: OCI distribution spec 1.1, "Pulling manifests"."""

VARIABLE = re.compile(r"TUTUM_[A-Z0-9_]{1,100}", re.ASCII)
"""The name of an environment variable that a handler may set."""
