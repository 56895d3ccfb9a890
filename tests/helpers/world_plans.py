"""Deletions of a dry run of a generated world, those that the oracle expects, and those carried out."""

from __future__ import annotations

from typing import Any

from tests.helpers.oracle import Deletions
from tests.helpers.oracle_repository import Repository
from tests.helpers.shop import deleted_tags
from tests.helpers.tool_runs import RunResult


class Plan:
    """A dry run and the steps of its plan.json."""

    def __init__(self, ran: RunResult, steps: list[dict[str, Any]]) -> None:
        self.ran, self.steps = ran, steps


def planned(plan: Plan) -> set[str]:
    """The tags and manifests that the plan deletes, such as `a:t1` and `a@sha256:...`."""
    tags = {f"{step['repository']}:{tag['name']}" for step in plan.steps for tag in step["tags"]}
    return tags | {f"{step['repository']}@{step['digest']}" for step in plan.steps if step["verb"] == "delete manifest"}


def wanted(expected: dict[str, Deletions]) -> set[str]:
    """The deletions that the oracle expects, written as in `planned`."""
    tags = {f"{name}:{tag}" for name, deletions in expected.items() for tag in deletions.tags}
    return tags | {f"{name}@{digest}" for name, deletions in expected.items() for digest in deletions.manifests}


def deleted(before: dict[str, Repository], after: dict[str, Repository]) -> set[str]:
    """The tags and manifests that no longer exist, written as in `planned`."""
    return deleted_tags(before, after) | {
        f"{name}@{digest}"
        for name, repository in before.items()
        for digest in repository.manifests.keys() - after[name].manifests.keys()
    }
