"""Helm's release history: which revisions count, what is found in them, and what cannot be decoded."""

from __future__ import annotations

import base64
import gzip
import json
import tracemalloc
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acr_cleanup.clusters.images.helm_history import History
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.images.pod_specs import Findings
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.core.workload import Workload
from acr_cleanup.emulator.kubernetes.objects import helm_release
from tests.helpers.cluster_objects import CORPUS, DIGEST, OURS, captured, mentions_of

HOST = "contoso.azurecr.io"
EXPECTED = [
    entry
    for entry in json.loads((CORPUS / "expected.json").read_text())["expected"]
    if entry["class"] == "helm-history"
]
CAPTURES = ["v1_secrets.fieldSelector.json", "v1_secrets.labelSelector.json"]
PAGES = [f"v1_secrets.labelSelector.limit3.p00{number}.json" for number in range(1, 5)]


def findings(*secrets: Mapping[str, Any], revisions: int = 3, registry: RegistryHost = OURS) -> Findings:
    history = History(revisions, "production", Names.of(registry, REPOSITORIES))
    for secret in secrets:
        history.add(secret)
    return history.findings()


REPOSITORIES = ["a", "b", "c", "d", "shop/web", "shop/api", "shop/migrate", "shop/test",
    "shop/new", "shop/old", "shop/side", "shop/secret",
    *(f"{space}/{name}" for space in ("shop", "payments") for name in ("web", "web.v1", "api")),
    *(entry["repository"] for entry in EXPECTED)]  # fmt: skip
TAGS = [*map(str, range(201)), "1.10", "x", "y", "latest"]
NAMES = Names.of(OURS, REPOSITORIES)


def used(found: Findings) -> set[str]:
    """Everything that a use or a mention keeps, without the host; `shop/web` alone is the whole repository."""
    names = {str(use.reference).partition("/")[2] for use in found.uses}
    for repository in dict.fromkeys(REPOSITORIES):
        mentions = mentions_of(found, repository, *TAGS, digests=[DIGEST])
        digests = {f"{repository}@{digest}" for digest in mentions.by_digest} if not found.uses else set()
        names |= (
            {f"{repository}:{tag}" for tag in mentions.by_tag} | digests | ({repository} if mentions.of_any else set())
        )
    return names


def fields(found: Findings) -> set[str]:
    return {use.field for use in found.uses}


def blockers(found: Findings) -> str:
    return "\n".join(map(str, found.blockers))


def manifest(*images: str) -> str:
    """As Helm renders it: a document each."""
    return "".join(
        f"---\n# Source: web/templates/{number}.yaml\napiVersion: v1\nkind: Pod\nmetadata:\n  name: p{number}\n"
        f"spec:\n  containers:\n    - name: main\n      image: {image}\n"
        for number, image in enumerate(images)
    )


def release(revision: int, *images: str, status: str = "superseded", **more: Any) -> dict[str, Any]:
    text = more.pop("manifest", manifest(*(f"{HOST}/{image}" for image in images)))
    return helm_release("shop", "web", revision, text, status=status, **more)


def with_data(data: object) -> dict[str, Any]:
    """A Secret with this as its `data.release`."""
    return {**release(3), "data": {"release": data}}


def with_raw(raw: bytes) -> dict[str, Any]:
    """A Secret with these bytes where the gzip data of a release belongs."""
    return with_data(base64.b64encode(base64.b64encode(raw)).decode())


def with_json(value: object) -> dict[str, Any]:
    return with_raw(gzip.compress(json.dumps(value).encode()))


def plain(**more: Any) -> dict[str, Any]:
    """The JSON of a release."""
    return {"name": "web", "chart": {"values": {}}, "manifest": manifest(f"{HOST}/shop/web:1")} | more


# Findings


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        pytest.param(release(3, "shop/web:1"), {"shop/web:1"}, id="manifest"),
        pytest.param(release(3, "shop/web:1", "shop/api:2"), {"shop/web:1", "shop/api:2"}, id="documents"),
        pytest.param(release(3, f"shop/web:1@{DIGEST}"), {f"shop/web:1@{DIGEST}"}, id="tag-and-digest"),
        pytest.param(release(3, "shop/web"), {"shop/web:latest"}, id="no-tag"),
        pytest.param(release(3, "shop/web:1.10"), {"shop/web:1.10"}, id="number-like-tag"),
        pytest.param(
            release(3, hooks=[manifest(f"{HOST}/shop/migrate:1"), manifest(f"{HOST}/shop/test:1")]),
            {"shop/migrate:1", "shop/test:1"},
            id="hooks",
        ),
        pytest.param(release(3, values={"image": f"{HOST}/shop/web:1"}), {"shop/web:1"}, id="values"),
        pytest.param(release(3, config={"image": f"{HOST}/shop/web:1"}), {"shop/web:1"}, id="config"),
        pytest.param(
            release(3, values={"image": {"repository": f"{HOST}/shop/web", "tag": ""}}, config={"image": {"tag": "7"}}),
            {"shop/web:7"},
            id="tag-of-config-repository-of-chart",
        ),
        pytest.param(
            release(3, "shop/web:7", values={"image": {"repository": f"{HOST}/shop/web", "tag": ""}}),
            {"shop/web:7"},
            id="tag-of-the-chart",
        ),
        pytest.param(
            release(
                3,
                manifest=f"kind: X\nspec: {{image: '{HOST}/shop/web:7'}}\n",
                values={"image": "shop/web", "registry": HOST, "tag": "{{ .Chart.AppVersion }}"},
            ),
            {"shop/web:7"},
            id="template-that-the-chart-fills",
        ),
        pytest.param(
            release(3, "shop/api:7", values={"image": {"repository": f"{HOST}/c", "tag": ""}}),
            {"shop/api:7", "c:latest"},
            id="name-without-a-tag-that-the-manifest-lacks",
        ),
        pytest.param(
            release(3, values={"image": f"{HOST}/shop/old:1"}, config={"image": f"{HOST}/shop/new:1"}),
            {"shop/new:1"},
            id="config-replaces-default",
        ),
        pytest.param(
            release(3, values={"side": {"image": f"{HOST}/shop/side:1"}}, config={"side": None}),
            set(),
            id="null-takes-a-default-away",
        ),
        pytest.param(
            release(3, manifest=f"kind: X\nspec: {{repository: {HOST}/shop/web, tag: 1.10}}\n"),
            {"shop/web:1.10"},
            id="split-pair-in-a-manifest-stays-text",
        ),
        pytest.param(
            release(3, manifest=f"one: &one {{repository: {HOST}/shop/web, tag: x}}\ntwo: {{<<: *one, tag: y}}\n"),
            {"shop/web:x", "shop/web:y"},
            id="merge-key",
        ),
        pytest.param(release(3, manifest=f"a: &i {HOST}/shop/web:1\nb: *i\n"), {"shop/web:1"}, id="alias"),
        pytest.param(release(3, manifest='image: "\\x63ontoso.azurecr.io/shop/web:1"\n'), {"shop/web:1"}, id="escaped"),
        pytest.param(
            release(
                3, manifest=f"image: {HOST.upper()}/shop/web:1\n---\nimage: contoso.westeurope.geo.azurecr.io/a:1\n"
            ),
            {"shop/web:1", "a:1"},
            id="hosts",
        ),
        pytest.param(
            release(3, manifest="image: notours.azurecr.io/shop/web:1\n"), {"shop/web:1"}, id="other-registry"
        ),
        pytest.param(release(3, manifest=f"---key: 1\n---\nimage: {HOST}/shop/web:1\n"), {"shop/web:1"}, id="marker"),
        pytest.param(release(3, manifest=""), set(), id="nothing-rendered"),
        pytest.param(with_raw(json.dumps(plain()).encode()), {"shop/web:1"}, id="not-compressed"),
        pytest.param(
            with_raw(
                b"".join(gzip.compress(part.encode()) for part in (json.dumps(plain())[:9], json.dumps(plain())[9:]))
            ),
            {"shop/web:1"},
            id="two-gzip-members",
        ),
        pytest.param(with_json(plain(hooks=None, config=None)), {"shop/web:1"}, id="nulls-that-go-writes"),
        pytest.param(with_json(plain(hooks=[None, {}], chart={})), {"shop/web:1"}, id="empty-hooks-and-chart"),
        pytest.param(
            helm_release("shop", "web", 3, manifest(f"{HOST}/shop/web:1"), kind="ConfigMap"),
            {"shop/web:1"},
            id="configmap",
        ),
    ],
)
def test_every_place_of_a_release_is_read(stored: dict[str, Any], expected: set[str]) -> None:
    """The truth table."""
    found = findings(stored)
    assert used(found) == expected
    assert blockers(found) == ""


def test_a_use_names_the_release_its_revision_and_its_place() -> None:
    found = findings(
        release(3, "a:1", hooks=["{}", manifest(f"{HOST}/b:1")], values={"x": f"{HOST}/c:1"}),
    )
    assert {use.workload for use in found.uses} == {Workload("production", "shop", "Helm release", "web")}
    places = {str(use.reference).partition("/")[2]: use.field for use in found.uses}
    assert places["a:1"].startswith("revision 3: manifest")
    assert places["b:1"].startswith("revision 3: hooks[1].manifest")
    (mention,) = mentions_of(found, "c", "1").by_tag["1"]
    assert mention.field == "revision 3: values.x"
    assert not any(use.running for use in found.uses)


def test_items_of_a_list_do_not_say_their_kind() -> None:
    """An API server leaves `kind` and `apiVersion` out of the items of a list."""
    secret, configmap = release(1, "a:1"), helm_release("shop", "api", 1, manifest(f"{HOST}/b:1"), kind="ConfigMap")
    for each in (secret, configmap):
        del each["kind"], each["apiVersion"]
    found = findings(secret, configmap)
    assert (used(found), blockers(found)) == ({"a:1", "b:1"}, "")


def test_secrets_of_a_release_are_not_read() -> None:
    """Only Helm's own Secrets are read, not those in a manifest; neither alone nor in a list."""
    secret = f"apiVersion: v1\nkind: Secret\nstringData: {{x: '{HOST}/shop/secret:1'}}\n"
    item = f"{{apiVersion: v1, kind: Secret, data: {{x: '{HOST}/shop/secret:2'}}}}"
    listed = f"apiVersion: v1\nkind: List\nitems:\n- {item}\n- image: {HOST}/a:1\n"
    found = findings(release(3, manifest=f"{secret}---\n{listed}"))
    assert (used(found), blockers(found)) == ({"a:1"}, "")


def test_a_malformed_image_in_an_old_revision_blocks_nothing() -> None:
    """The past cannot be corrected, so a blocker would last for ever."""
    assert blockers(findings(release(3, "shop/web:not a tag", "Shop/WEB:-"))) == ""


# The captures of a real API server


@pytest.mark.parametrize("names", [*([name] for name in CAPTURES), PAGES], ids=["fields", "labels", "pages"])
def test_all_of_a_real_history_is_found(names: list[str]) -> None:
    found = findings(*(item for name in names for item in json.loads(captured(f"list/{name}"))["items"]), revisions=5)
    assert len(EXPECTED) == 30
    assert [entry for entry in EXPECTED if not holds(entry, found)] == []
    assert {(use.reference.repository, use.reference.tag, use.reference.digest) for use in found.uses} <= {
        (entry["repository"], entry["tag"], entry["digest"]) for entry in EXPECTED
    }
    assert blockers(found) == ""


def test_of_a_real_history_one_revision_is_the_newest_and_the_deployed_one() -> None:
    """`search`: revision 5 failed, 4 runs."""
    found = findings(*json.loads(captured(f"list/{CAPTURES[0]}"))["items"], revisions=1)
    counts = {("billing", 5), ("search", 5), ("search", 4)}

    assert all(holds(entry, found) == (release_of(entry) in counts) for entry in EXPECTED)
    assert {(use.workload.name, int(use.field.split()[1].rstrip(":"))) for use in found.uses} == counts


def release_of(entry: dict[str, Any]) -> tuple[str, int]:
    """`Secret/sh.helm.release.v1.NAME.vN` -> name and revision."""
    *_, name, revision = entry["owner"].split(".")
    return name, int(revision.removeprefix("v"))


def holds(entry: dict[str, Any], found: Findings) -> bool:
    name, revision = release_of(entry)
    path = entry["path"].removeprefix("data.release -> ")
    start = f"revision {revision}: {path if path.startswith(('manifest', 'hooks')) else 'values'}"
    is_use = any(
        (use.reference.repository, use.reference.tag, use.reference.digest)
        == (entry["repository"], entry["tag"], entry["digest"])
        and (use.workload.namespace, use.workload.name) == (entry["namespace"], name)
        and use.field.startswith(start)
        for use in found.uses
    )
    tags, digests = filter(None, [entry["tag"]]), filter(None, [entry["digest"]])
    mentions = mentions_of(found, entry["repository"], *tags, digests=digests)
    return is_use or any(
        mention.field.startswith(start) and mention.workload.name == name
        for of in (*mentions.by_tag.values(), *mentions.by_digest.values(), mentions.of_any)
        for mention in of
    )


# Revisions that count


@given(
    revisions=st.dictionaries(
        st.integers(1, 200), st.sampled_from(["deployed", "superseded", "failed", "uninstalled"])
    ),
    newest=st.integers(1, 6),
    data=st.data(),
)
def test_what_counts_is_exactly_the_newest_and_the_deployed(
    revisions: dict[int, str], newest: int, data: st.DataObject
) -> None:
    """In any order of adding, and added any number of times."""
    order = data.draw(st.permutations(sorted(revisions)))
    again = data.draw(st.lists(st.sampled_from(order), max_size=5)) if order else []
    found = findings(
        *(release(each, f"a:{each}", status=revisions[each]) for each in [*order, *again]), revisions=newest
    )
    counts = set(sorted(revisions)[-newest:]) | {each for each in revisions if revisions[each] == "deployed"}
    assert used(found) == {f"a:{each}" for each in counts}


def test_releases_and_namespaces_have_a_history_each() -> None:
    names = [(space, name) for space in ("shop", "payments") for name in ("web", "web.v1", "api")]
    secrets = [
        helm_release(space, name, number, manifest(f"{HOST}/{space}/{name}:{number}"), status="superseded")
        for space, name in names
        for number in (1, 2, 10)
    ]
    found = findings(*secrets, revisions=2)
    assert used(found) == {f"{space}/{name}:{number}" for space, name in names for number in (2, 10)}


def test_the_same_revision_in_a_secret_and_in_a_configmap_counts_in_both() -> None:
    """The driver was changed, and it is unknown which of the two Helm reads now."""
    in_configmap = helm_release("shop", "web", 1, manifest(f"{HOST}/b:1"), status="superseded", kind="ConfigMap")
    assert used(findings(release(1, "a:1"), in_configmap, revisions=1)) == {"a:1", "b:1"}


@pytest.mark.parametrize("status", [None, "", 7])
def test_a_revision_that_may_be_deployed_counts_always(status: object) -> None:
    """Without its label, only its data would tell whether it runs."""
    odd = release(1, "odd:1")
    odd["metadata"]["labels"]["status"] = status
    assert used(findings(odd, release(7, "a:7"), release(8, "a:8"), revisions=1)) == {"odd:1", "a:8"}


def test_without_labels_the_name_tells_release_and_revision() -> None:
    secrets = [release(number, f"a:{number}") for number in (9, 10, 11)]
    for each in secrets:
        each["metadata"]["labels"] = {"status": "superseded"}
    found = findings(*secrets, revisions=2)
    assert used(found) == {"a:10", "a:11"}
    assert {use.workload.name for use in found.uses} == {"web"}


@pytest.mark.parametrize("version", [None, "", "three", "-1", "9" * 5000, "²", 3, ["1"]])
def test_a_revision_that_nothing_tells_counts_always(version: object) -> None:
    odd = release(1, "odd:1")
    odd["metadata"]["name"] = "renamed"
    odd["metadata"]["labels"]["version"] = version
    found = findings(odd, release(7, "a:7"), release(8, "a:8"), revisions=1)
    assert used(found) == {"odd:1", "a:8"}
    assert any(field.startswith("revision ?: manifest") for field in fields(found))


def test_what_is_too_old_is_let_go_while_adding() -> None:
    """A thousand revisions of half a megabyte, of which three are held."""
    history = History(3, "production", NAMES)
    tracemalloc.start()
    try:
        for number in range(1, 1001):
            history.add({**release(number), "data": {"release": "A" * 500_000}})
        assert tracemalloc.get_traced_memory()[0] < 4 * 500_000
    finally:
        tracemalloc.stop()


def test_a_history_of_no_revisions_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no revisions"):
        History(0, "production", NAMES)


# Whose Secrets are read


class Untouchable(dict[str, Any]):
    """Data that must not be looked at."""

    def get(self, key: str, default: object = None) -> Any:
        raise AssertionError(f"{key} was read")

    __getitem__ = __iter__ = items = values = get  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        ("Opaque", {}),
        ("Opaque", None),
        ("Opaque", {"owner": "me", "name": "web", "version": "1", "status": "deployed"}),
        ("kubernetes.io/tls", {"owner": "Helm"}),
        ("helm.sh/release.v1.evil", {}),
        (None, {}),
        (7, {"owner": ["helm"]}),
    ],
)
def test_secrets_that_are_not_helms_are_never_looked_at(kind: object, labels: object) -> None:
    """Not even when they are called like a release."""
    secret = {**release(1, "a:1"), "type": kind, "data": Untouchable()}
    secret["metadata"] = {"name": "sh.helm.release.v1.web.v1", "namespace": "shop", "labels": labels}
    assert (used(findings(secret)), blockers(findings(secret))) == (set(), "")
