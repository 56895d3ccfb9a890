"""The rights inside clusters with Kubernetes RBAC, as YAML for `kubectl apply`."""

from __future__ import annotations

from acr_cleanup.commands.rights.cluster_role import IDENTITY, cluster_role, comment
from acr_cleanup.commands.rights.required import RequiredRights
from acr_cleanup.quoting import quoted


def kubernetes(rights: RequiredRights) -> str:
    """Return the ClusterRole and its binding; only comments if no cluster needs them."""
    if not rights.kubernetes:
        lines = [line for note in rights.kubernetes_notes for line in comment(note)]
        return "\n".join(lines or comment("No cluster needs a ClusterRole."))
    names = ", ".join(quoted(cluster.target.key, 80) for cluster in rights.kubernetes)
    lines = [
        *comment(
            f"Lets acr-cleanup list the objects that can name an image. Apply it in these clusters: {names}. "
            "To bind a group, write `kind: Group` and the group's object id."
        ),
        *(line for note in rights.kubernetes_notes for line in comment(note)),
        *cluster_role(rights.kubernetes, rights.helm_history, rights.identity or IDENTITY),
    ]
    return "\n".join(lines)
