"""The keep list in the file, as an input and as a flag."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.core.keep_list import KeepEntry
from acr_cleanup.errors import ConfigurationError
from acr_cleanup.settings.load import load_settings

DIGEST = f"sha256:{'ab' * 32}"


def kept(tmp_path: Path, text: str, **overrides: Any) -> tuple[KeepEntry, ...]:
    path = tmp_path / "acr-cleanup.yaml"
    path.write_text(f"kubernetes_clusters: {{a: {{snapshot: a.json}}}}\ncontainer_registry: {{url: contoso}}\n{text}")
    return load_settings(path, overrides, {}).keep


@pytest.mark.parametrize(
    ("image", "repository", "tag", "digest"),
    [
        ("shop/web:1.0", "shop/web", "1.0", ""),
        ("shop/web:1.*", "shop/web", "1.*", ""),
        (f"shop/web@{DIGEST}", "shop/web", "", DIGEST),
        ("shop/web@sha256:abcdef012345", "shop/web", "", "sha256:abcdef012345*"),
        (f"shop/web:1.0@{DIGEST}", "shop/web", "1.0", DIGEST),
        ("shop/*", "shop/*", "*", "*"),
        ("*", "*", "*", "*"),
        (f"*@{DIGEST}", "*", "", DIGEST),
        ("contoso.azurecr.io/shop/web:1.0", "shop/web", "1.0", ""),
        ("https://CONTOSO.azurecr.io:443/shop/web:1.0", "shop/web", "1.0", ""),
        ("contoso.azurecr.io/my.app/web:1.0", "my.app/web", "1.0", ""),
        ("v[0-9]/web:[!a]*", "v[0-9]/web", "[!a]*", ""),
    ],
)
def test_image_is_a_reference_with_globs(tmp_path: Path, image: str, repository: str, tag: str, digest: str) -> None:
    (entry,) = kept(tmp_path, f"keep: ['{image}']")

    assert (entry.repository, entry.tag, entry.digest) == (repository, tag, digest)


def test_entry_has_reason_owner_and_last_day(tmp_path: Path) -> None:
    text = "keep:\n- {image: 'shop/web:1', reason: the  audit, owner: ana, until: 2026-12-31}\n- shop/api:2"
    first, second = kept(tmp_path, text)

    assert (first.reason, first.owner, first.until) == ("the audit", "ana", date(2026, 12, 31))
    assert (second.image, second.reason, second.until) == ("shop/api:2", "", None)


def test_input_adds_to_the_keep_list_of_the_file(tmp_path: Path) -> None:
    entries = kept(tmp_path, "keep: ['shop/web:1']", keep="# pinned\nshop/api:2\nshop/api:3")

    assert [entry.image for entry in entries] == ["shop/web:1", "shop/api:2", "shop/api:3"]
    assert [entry.image for entry in kept(tmp_path, "", keep=["shop/api:2"])] == ["shop/api:2"]


@pytest.mark.parametrize(
    ("text", "place", "seen"),
    [
        ("keep: true", "keep[0].image", "rule"),
        ("keep: {image: a}", "keep", "not a list"),
        ("keep: [{image: 'a:1', until: tomorrow}]", "keep[0].until", "not a date"),
        ("keep: [{image: 'a:1', until: 2026-02-30}]", "keep[0].until", "calendar"),
        ("keep: [{image: 'a:1', until: 20261231}]", "keep[0].until", "not a date"),
        ("keep: [{image: 'a:1', until: '2026-12-31T00:00:00Z'}]", "keep[0].until", "not a date"),
        ("keep: [{image: 'a:1', untill: 2026-12-31}]", "keep[0].untill", "until"),
        ("keep: [{image: 'a:1', older_than: 7d}]", "keep[0].older_than", "no such key"),
        ("keep: [{reason: audit}]", "keep[0].image", "missing"),
        ("keep: [{image: null}]", "keep[0].image", "empty"),
        ("keep: [a, ~]", "keep[1].image", "empty"),
        ("keep: ['!a']", "keep[0].image", "exclamation mark"),
        ("keep: ['a:b:c']", "keep[0].image", "not an image"),
        ("keep: ['a b']", "keep[0].image", "not an image"),
        ("keep: ['Shop/Web:1']", "keep[0].image", "not an image"),
        ("keep: ['a@latest']", "keep[0].image", "not an image"),
        (f"keep: ['{DIGEST}']", "keep[0].image", "repository is missing"),
        ("keep: ['fabrikam.azurecr.io/a:1']", "keep[0]", "another registry"),
        ("keep: ['my.app/web:1']", "keep[0]", "another registry"),
        ("keep: [[a]]", "keep[0].image", "list"),
        (f"keep: [{{image: a, reason: {'x' * 201}}}]", "keep[0].reason", "201 characters"),
    ],
)
def test_wrong_entry_is_one_problem_with_its_place(tmp_path: Path, text: str, place: str, seen: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        kept(tmp_path, text)

    (problem,) = raised.value.problems
    assert problem.path == place
    assert seen in f"{problem.seen} {problem.remedy}"


def test_entry_that_ended_is_no_mistake(tmp_path: Path) -> None:
    """A nightly run must not fail the morning after: the report says that the entry ended."""
    assert kept(tmp_path, "keep: [{image: a, until: 2020-01-01}]")[0].until == date(2020, 1, 1)
