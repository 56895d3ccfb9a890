"""The search that decides which objects are read: it never wrongly says no, and rests while most objects match."""

from __future__ import annotations

from acr_cleanup.clusters.images.finder import Finder
from acr_cleanup.clusters.images.names import Names
from tests.helpers.cluster_objects import OURS


def test_search_rests_while_most_of_many_objects_match() -> None:
    finder = Finder(Names.of(OURS, ["shop/web"]))
    assert finder.may_name(b"image: shop/web")
    assert not finder.may_name(b"nothing"), "after one object, nothing is known of the others"
    assert all(finder.may_name(b"image: shop/web") for _ in range(100))
    rested = [finder.may_name(b"nothing") for _ in range(200)]
    assert rested == [True] * 7 + [False] * 193
    assert finder.may_name(b"image: shop/web"), "the search goes on"
