"""The requests of the engine `docker` that a filter before its socket may refuse."""

from tutumd.engines.dockerapi.checkup import Needed

_FIND = "services cannot be found"
_REDEPLOY = "a redeploy cannot replace containers"
_PULL = "a redeploy cannot pull the new image"
_NETWORK = "a redeploy cannot lead clients to the new container"
_FILES = "a redeploy cannot copy the inline configs and secrets of compose"
_CLEAN = "a redeploy cannot keep or remove images that it replaced"

NEEDED = (
    Needed(method="GET", path="/info", purpose=_REDEPLOY),
    Needed(method="GET", path="/containers/json", purpose=_FIND),
    Needed(method="GET", path="/containers/{absent}/json", purpose=_FIND),
    Needed(method="GET", path="/events", query={"since": "0", "until": "1"}, purpose="changes are seen late"),
    Needed(method="GET", path="/containers/{absent}/logs", query={"stdout": "1"}, purpose="no output can be shown"),
    Needed(method="GET", path="/images/json", purpose=_CLEAN),
    Needed(method="GET", path="/images/{absent}/json", purpose=_PULL),
    # No such reference can exist: the registry is not asked.
    Needed(method="GET", path="/distribution/INVALID/json", purpose="a dry run cannot tell the newest image"),
    Needed(method="POST", path="/images/create", query={"fromImage": "INVALID", "tag": "none"}, purpose=_PULL),
    Needed(method="POST", path="/images/{absent}/tag", query={"repo": "tutumd-doctor", "tag": "none"}, purpose=_CLEAN),
    Needed(method="DELETE", path="/images/{absent}", purpose=_CLEAN),
    # Without an image: 400.
    Needed(method="POST", path="/containers/create", body={}, purpose=_REDEPLOY),
    Needed(method="POST", path="/containers/{absent}/start", purpose=_REDEPLOY),
    Needed(method="POST", path="/containers/{absent}/stop", purpose=_REDEPLOY),
    Needed(method="POST", path="/containers/{absent}/rename", query={"name": "tutumd-doctor"}, purpose=_REDEPLOY),
    Needed(method="POST", path="/containers/{absent}/update", body={}, purpose=_REDEPLOY),
    Needed(method="DELETE", path="/containers/{absent}", purpose=_REDEPLOY),
    Needed(method="POST", path="/containers/{absent}/pause", purpose="a paused service cannot be redeployed"),
    Needed(method="POST", path="/containers/{absent}/unpause", purpose="a paused service cannot be redeployed"),
    Needed(method="GET", path="/networks/{absent}", purpose=_NETWORK),
    Needed(method="POST", path="/networks/{absent}/connect", body={"Container": "none"}, purpose=_NETWORK),
    Needed(method="POST", path="/networks/{absent}/disconnect", body={"Container": "none"}, purpose=_NETWORK),
    Needed(method="GET", path="/containers/{absent}/changes", purpose=_FILES),
    Needed(method="HEAD", path="/containers/{absent}/archive", query={"path": "/"}, purpose=_FILES),
    Needed(method="GET", path="/containers/{absent}/archive", query={"path": "/"}, purpose=_FILES),
    Needed(method="PUT", path="/containers/{absent}/archive", query={"path": "/"}, purpose=_FILES),
)
