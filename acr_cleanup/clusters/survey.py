"""
Asks clusters what must be known to grant rights in them: how they authorise, and which kinds they
serve. Reads no object.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from acr_cleanup.access.azure import Azure
from acr_cleanup.access.read_failure import attempt
from acr_cleanup.access.resource_manager import open_manager
from acr_cleanup.clusters.api_server.client import ApiServer, Patience, connect
from acr_cleanup.clusters.api_server.discovery import discover
from acr_cleanup.clusters.api_server.kubeconfig import ConnectionOptions
from acr_cleanup.clusters.target import ClusterAccess, ClusterSurvey, ClusterTarget
from acr_cleanup.concurrency import gather
from acr_cleanup.quoting import quoted

_PATIENCE = Patience(attempts=2, timeouts=1)


async def survey_clusters(
    targets: Sequence[ClusterTarget],
    azure: Azure,
    *,
    progress: Callable[[ClusterSurvey], None] | None = None,
    concurrency: int = 64,
    patience: Patience = _PATIENCE,
) -> tuple[ClusterSurvey, ...]:
    """
    Return one survey per target, in the order of the targets.

    progress: called with each survey when it is finished.

    Every user who can log in to a cluster may ask which kinds it serves. Raises only
    `IdentityError`.
    """
    async with open_manager(azure) as manager:
        access = ClusterAccess(ConnectionOptions.of(azure), manager, patience)

        async def survey(target: ClusterTarget) -> ClusterSurvey:
            result = await _survey(target, access)
            if progress is not None:
                progress(result)
            return result

        return tuple(await gather([partial(survey, target) for target in targets], limit=concurrency))


async def _survey(target: ClusterTarget, access: ClusterAccess) -> ClusterSurvey:
    return await with_problem(ClusterSurvey(target), target.survey(access))


async def with_problem(survey: ClusterSurvey, work: Awaitable[ClusterSurvey]) -> ClusterSurvey:
    """Await `work`. If it fails, return `survey` with the problem. Raises only `IdentityError`."""
    surveyed, failure = await attempt(f"survey {quoted(survey.target.describe())}", lambda: work)
    return surveyed or replace(survey, problem=failure)


async def survey_kinds(survey: ClusterSurvey, server: ApiServer, patience: Patience) -> ClusterSurvey:
    """Add to a survey the kinds that the API server serves. Raises `ReadFailure`."""
    async with connect(server, patience) as ask:
        served = await discover(ask, survey.target.key)
    problem = next(iter(served.failures), None)
    # A failed group version leaves the kinds of the others. Without all of /api or /apis, almost
    # none are known.
    if any(not failure.kind for failure in served.failures):
        return replace(survey, problem=problem)
    return replace(survey, kinds=tuple(versions[0] for versions in served.kinds), problem=problem)
