"""Objects and catalogs that are made to be slow, or to match everything: read in bounded time."""

from __future__ import annotations

import time
from typing import Any

import pytest

from acr_cleanup.clusters.images.mentions import read_object
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.core.workload import Workload
from tests.helpers.cluster_objects import OURS
from tests.helpers.mention_builders import X

pytestmark = pytest.mark.extended

MANY = 20_000
WORKLOAD = Workload("prod", "ops", "ConfigMap", "x")
NAMES = Names.of(OURS, ["a", "b", "1", "web", "shop/web", "a.b", "a__b", "", "/", "(", "A b", "web/", "x" * 300])


def test_names_that_no_repository_can_have_are_left_out() -> None:
    assert NAMES.ends == {"a", "b", "1", "web", "shop/web", "a.b", "a__b"}


@pytest.mark.untraced  # tracing doubles its CPU
@pytest.mark.parametrize(
    "content",
    [
        {"args": ["--web", "web", "--tag", "a"] * MANY},
        {"env": [{"name": f"A{number}", "value": "web"} for number in range(MANY)]},
        {f"key{number}": "web" for number in range(MANY)},
        {"list": [{"image": "web", "tag": "a"} for _ in range(MANY)]},
        {"list": [{"web": {"x": 1}} for _ in range(MANY)]},
        *({"text": f"{X}/web {unit * ((1 << 20) // len(unit))}"} for unit in ('"web":"1",', '{"a":', "web\n", "}:a ", "a/b/")),
        {"text": "".join(f"x{number}: [{'a,b,1,' * 150}]\n" for number in range(1100))},
        {"text": "a\n" + f"tag: {chr(39)}{'a,b' * 300}\n" * 1100},
    ],
    ids=lambda content: str(content)[:30],
)  # fmt: skip
def test_object_of_many_names_is_read_in_seconds(content: dict[str, Any]) -> None:
    before = time.process_time()
    read_object({"data": content}, WORKLOAD, NAMES)
    assert time.process_time() - before < 8
