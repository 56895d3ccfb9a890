"""
Asks clusters what must be known to grant rights in them: how they authorise, which kinds they serve,
and which of them the identity may list. Reads no object.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from acr_cleanup.access.azure import Azure
from acr_cleanup.access.read_failure import ReadFailure, attempt
from acr_cleanup.access.resource_manager import open_manager
from acr_cleanup.clusters.api_server.client import ApiServer, Ask, Patience, connect
from acr_cleanup.clusters.api_server.discovery import SECRET, discover
from acr_cleanup.clusters.api_server.kubeconfig import ConnectionOptions
from acr_cleanup.clusters.api_server.list_rights import ListRights
from acr_cleanup.clusters.images.pod_specs import KINDS, Kind
from acr_cleanup.clusters.target import ClusterAccess, ClusterSurvey, ClusterTarget, Search
from acr_cleanup.concurrency import gather
from acr_cleanup.quoting import quoted

_PATIENCE = Patience(attempts=2, timeouts=1)
_REVIEWS_AT_ONCE = 8


async def survey_clusters(
    targets: Sequence[ClusterTarget],
    azure: Azure,
    *,
    progress: Callable[[ClusterSurvey], None] | None = None,
    concurrency: int = 64,
    patience: Patience = _PATIENCE,
    reviewed: Search | None = None,
) -> tuple[ClusterSurvey, ...]:
    """
    Return one survey per target, in the order of the targets.

    progress: called with each survey when it is finished.
    reviewed: also ask for the right to list the kinds that this search reads.

    Every user who can log in to a cluster may ask which kinds it serves. Raises only
    `IdentityError`.
    """
    async with open_manager(azure) as manager:
        access = ClusterAccess(ConnectionOptions.of(azure), manager, patience, reviewed)

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


async def survey_kinds(survey: ClusterSurvey, server: ApiServer, access: ClusterAccess) -> ClusterSurvey:
    """Add to a survey the kinds that the API server serves. Raises `ReadFailure`."""
    async with connect(server, access.patience) as ask:
        served = await discover(ask, survey.target.key)
        if access.reviewed is not None:
            kinds = [versions[0] for versions in served.kinds]
            survey = replace(survey, unlisted=await _review(ask, survey.target.key, kinds, access.reviewed))
    problem = next(iter(served.failures), None)
    # A failed group version leaves the kinds of the others. Without all of /api or /apis, almost
    # none are known.
    if any(not failure.kind for failure in served.failures):
        return replace(survey, problem=problem)
    return replace(survey, kinds=tuple(versions[0] for versions in served.kinds), problem=problem)


async def _review(ask: Ask, cluster: str, served: Iterable[Kind], search: Search) -> tuple[ReadFailure, ...]:
    """Return why each kind that the search reads may not be listed. Raises `ReadFailure`."""
    rights = ListRights(ask)
    kinds = [*KINDS, *(kind for kind in served if not search.ignores(kind)), *([SECRET] if search.helm_history else [])]
    problems = await gather([partial(rights.problem, kind, cluster) for kind in kinds], limit=_REVIEWS_AT_ONCE)
    return tuple(problem for problem in problems if problem is not None)
