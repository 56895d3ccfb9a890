"""Objects that cannot be listed: each such kind of a cluster blocks all deletions."""

from __future__ import annotations

from pathlib import Path

import pytest

from acr_cleanup.emulator.kubernetes.object_parts import metadata
from acr_cleanup.emulator.world import Face
from tests.helpers.stage import BOTH, Scenario, ScenarioTable, Stage, build, play

pytestmark = pytest.mark.extended

scenarios = ScenarioTable(services="off")

# -- lists ----------------------------------------------------------------------------------------


def add_pages_of_pods(stage: Stage) -> None:
    """Make a list of seven pages. Only the pod on the last one uses `1.0`."""
    stage.cluster.page_cap = 1
    for number in range(6):
        stage.pod(stage.image("2.0"), labels={"n": str(number)})
    stage.pod(stage.image("1.0"))


@scenarios.deletes("1.1")
def last_of_many_pages_is_read(stage: Stage) -> None:
    add_pages_of_pods(stage)


@scenarios.deletes("1.1")
def list_that_expires_once_is_restarted(stage: Stage) -> None:
    add_pages_of_pods(stage)
    stage.cluster.expire_continue["pods"] = 1


@scenarios.refuses("production", "list pods", "410")
def list_that_always_expires_blocks(stage: Stage) -> None:
    add_pages_of_pods(stage)
    stage.cluster.expire_continue["pods"] = 10_000


RESOURCES = (
    "pods", "replicationcontrollers", "deployments.apps", "replicasets.apps", "statefulsets.apps", "daemonsets.apps",
    "jobs.batch", "cronjobs.batch", "controllerrevisions.apps", "podtemplates", "configmaps",
)  # fmt: skip
for resource in RESOURCES:

    @scenarios.refuses("production", resource, "403", case=resource)
    def forbidden_list_blocks(stage: Stage, resource: str = resource) -> None:
        stage.cluster.forbidden.add(resource)


@scenarios.deletes(*BOTH)
def forbidden_secrets_do_not_block(stage: Stage) -> None:
    """Secrets are not read by default."""
    stage.cluster.forbidden.add("secrets")


@scenarios.refuses("secrets", "403")
def forbidden_secrets_block_with_helm_history(stage: Stage) -> None:
    stage.cluster.forbidden.add("secrets")
    stage.settings(helm_history=3)


@scenarios.refuses("production", "cronjobs.batch", "empty")
def empty_list_instead_of_a_refusal_blocks(stage: Stage) -> None:
    stage.cluster.hidden.add("cronjobs.batch")


@scenarios.refuses("production", "403")
def cluster_without_any_read_access_blocks(stage: Stage) -> None:
    stage.cluster.forbidden.add("*")


# -- custom resources and discovery ---------------------------------------------------------------


def add_rollout(stage: Stage) -> None:
    """Add a custom resource that names `1.0` in a field that no built-in kind has."""
    meta = metadata("Rollout", "shop", "canary")
    spec = {"canary": {"analysis": {"image": stage.image("1.0")}}}
    stage.cluster.add({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": meta, "spec": spec})


ROLLOUTS = "rollouts.argoproj.io"
DEAD_API = "custom.metrics.k8s.io/v1beta1"


@scenarios.refuses("production", ROLLOUTS, "403", "waive")
def forbidden_custom_resource_blocks(stage: Stage) -> None:
    add_rollout(stage)
    stage.cluster.forbidden.add(ROLLOUTS)


@scenarios.deletes(*BOTH, says=(ROLLOUTS, "waived"))
def waived_custom_resource_does_not_block(stage: Stage) -> None:
    add_rollout(stage)
    stage.cluster.forbidden.add(ROLLOUTS)
    stage.settings(waive=[f"production: {ROLLOUTS}"])


@scenarios.refuses(ROLLOUTS, "empty")
def empty_custom_list_instead_of_a_refusal_blocks(stage: Stage) -> None:
    add_rollout(stage)
    stage.cluster.hidden.add(ROLLOUTS)


@scenarios.refuses("production", ROLLOUTS, "500")
def failing_list_of_custom_resource_blocks(stage: Stage) -> None:
    add_rollout(stage)
    stage.fault(service=stage.service, path="/rollouts", status=500, body="conversion webhook failed")


@scenarios.deletes("1.1")
def custom_resource_is_read_in_its_other_version(stage: Stage) -> None:
    """The list of the preferred version fails."""
    stage.cluster.add(build.definition("argoproj.io", "Rollout", "rollouts", versions=("v1", "v1alpha1")))
    add_rollout(stage)
    stage.fault(service=stage.service, path="/v1/rollouts", status=500, body="conversion webhook failed")


@scenarios.refuses("production", DEAD_API, "503", "apiservice")
def api_without_backend_blocks_by_name(stage: Stage) -> None:
    stage.cluster.dead_apis.add(DEAD_API)


@scenarios.deletes(*BOTH, says=(DEAD_API, "waived"))
def waived_api_without_backend_does_not_block(stage: Stage) -> None:
    stage.cluster.dead_apis.add(DEAD_API)
    stage.settings(waive=[f"production: {DEAD_API}"])


@scenarios.deletes(*BOTH)
def missing_metrics_server_does_not_block(stage: Stage) -> None:
    stage.cluster.dead_apis.add("metrics.k8s.io/v1beta1")


DISCOVERY_FAULTS: dict[str, dict[str, object]] = {
    "refused": {"status": 403, "body": {"kind": "Status", "message": "forbidden"}},
    "status 500": {"status": 500, "body": "no"},
    "cut short": {"truncate": 0.5},
    "malformed": {"malformed": True},
    "page of a gateway": {"status": 200, "body": "<html>Sign in</html>"},
}
for flaw, fault in DISCOVERY_FAULTS.items():

    @scenarios.refuses("production", case=flaw)
    def faulty_discovery_blocks(stage: Stage, fault: dict[str, object] = fault) -> None:
        stage.fault(service=stage.service, path="^/apis$", **fault)


# -- answers of the API server --------------------------------------------------------------------

for status in (429, 500, 503):

    @scenarios.deletes("1.1", case=str(status))
    def single_error_status_is_retried(stage: Stage, status: int = status) -> None:
        stage.pod(stage.image("1.0"))
        stage.fault(
            service=stage.service, path="/pods", status=status, times=1, headers={"Retry-After": "1"}, body="no"
        )

    @scenarios.refuses("production", "list pods", str(status), case=str(status))
    def permanent_error_status_blocks(stage: Stage, status: int = status) -> None:
        stage.fault(service=stage.service, path="/pods", status=status, body="no")


@scenarios.refuses("production", "401")
def rejected_token_blocks(stage: Stage) -> None:
    stage.fault(service=stage.service, status=401, body={"kind": "Status", "message": "Unauthorized"})


BROKEN_ANSWERS: dict[str, dict[str, object]] = {"reset": {"reset": True}, "cut short": {"truncate": 0.5}}
for flaw, fault in BROKEN_ANSWERS.items():

    @scenarios.deletes("1.1", case=flaw)
    def single_broken_answer_is_retried(stage: Stage, fault: dict[str, object] = fault) -> None:
        stage.pod(stage.image("1.0"))
        stage.fault(service=stage.service, path="/pods", times=1, **fault)

    @scenarios.refuses("production", case=flaw)
    def permanently_broken_answer_blocks(stage: Stage, fault: dict[str, object] = fault) -> None:
        stage.fault(service=stage.service, path="/cronjobs", **fault)


@scenarios.refuses("production")
def answer_that_is_not_json_blocks(stage: Stage) -> None:
    stage.fault(service=stage.service, path="/jobs", malformed=True)


for flaw, body in {
    "another kind": {"kind": "NodeList", "apiVersion": "v1", "metadata": {}, "items": []},
    "no items": {"kind": "PodList", "apiVersion": "v1", "metadata": {}},
    "page of a gateway": "<html>Sign in</html>",
    "item that is not an object": {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": ["pod"]},
    "the same page again and again": {
        "kind": "PodList", "apiVersion": "v1", "metadata": {"continue": "again"}, "items": [{"metadata": {}}],
    },
    "remaining items": {
        "kind": "PodList", "apiVersion": "v1", "metadata": {"remainingItemCount": 7}, "items": [{"metadata": {}}],
    },
}.items():  # fmt: skip

    @scenarios.refuses("production", "list pods", case=flaw)
    def wrong_list_blocks(stage: Stage, body: object = body) -> None:
        stage.fault(service=stage.service, path="/api/v1/pods", status=200, body=body)


@scenarios.refuses("redirected to elsewhere.example")
def redirection_blocks_and_is_not_followed(stage: Stage) -> None:
    stage.fault(service=stage.service, status=302, headers={"Location": "https://elsewhere.example/api/v1/pods"})


@scenarios.refuses("production")
def unreachable_api_server_blocks(stage: Stage) -> None:
    stage.cluster.reachable = False
    stage.fault(service=stage.service, reset=True)


@pytest.mark.parametrize(("scenario", "face"), scenarios.parameters())
async def test_unreadable_objects(
    scenario: Scenario, face: Face | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await play(scenario, face, tmp_path, monkeypatch)
