"""Helm's release history: which revisions count, what is found in them, and what cannot be decoded."""

from __future__ import annotations

import base64
import gzip
import json
import tracemalloc
import zlib
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acr_cleanup.clusters.images import helm_history as helm
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


# What is found


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


def test_secrets_that_a_release_deploys_stay_unread() -> None:
    """Only Helm's own Secrets are read, not those in a manifest; neither alone nor in a list."""
    secret = f"apiVersion: v1\nkind: Secret\nstringData: {{x: '{HOST}/shop/secret:1'}}\n"
    item = f"{{apiVersion: v1, kind: Secret, data: {{x: '{HOST}/shop/secret:2'}}}}"
    listed = f"apiVersion: v1\nkind: List\nitems:\n- {item}\n- image: {HOST}/a:1\n"
    found = findings(release(3, manifest=f"{secret}---\n{listed}"))
    assert (used(found), blockers(found)) == ({"a:1"}, "")


def test_a_malformed_image_in_an_old_revision_blocks_nothing() -> None:
    """Nobody can correct the past: it would block for ever."""
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


# Which revisions count


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
    """The driver was changed: which of the two Helm reads now, nobody can tell."""
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


def test_a_label_alone_makes_no_release() -> None:
    """Helm rolls back by name: a Secret of another name with the label `owner: helm` is somebody's own."""
    secret = {**release(1, "a:1"), "type": "Opaque", "data": Untouchable()}
    secret["metadata"]["name"] = "database-password"
    assert (used(findings(secret)), blockers(findings(secret))) == (set(), "")


@pytest.mark.parametrize("change", [{"type": "Opaque"}, {"metadata": {"name": "sh.helm.release.v1.web.v3"}}])
def test_type_or_label_tells_that_a_secret_is_helms(change: dict[str, Any]) -> None:
    assert used(findings({**release(3, "a:1"), **change})) == {"a:1"}


# What cannot be decoded

BOMB = gzip.compress(b"[" + b" " * 100 * 1024**2 + b"]")
UNDECODABLE = [
    pytest.param({**release(3), "data": None}, "is missing", id="no-data"),
    pytest.param({**release(3), "data": ["release"]}, "is missing", id="data-is-a-list"),
    pytest.param({**release(3), "data": {"other": "x"}}, "is missing", id="no-release"),
    pytest.param(with_data(None), "is missing", id="null"),
    pytest.param(with_data(7), "is a int", id="number"),
    pytest.param(with_data(""), "not the JSON", id="empty"),
    pytest.param(with_data("~~~"), "not base64", id="no-base64"),
    pytest.param(with_data("ä"), "not base64", id="no-ascii"),
    pytest.param(with_data("\ud800"), "not base64", id="no-text"),
    pytest.param(with_data(base64.b64encode(b"~~~").decode()), "not base64", id="base64-once"),
    pytest.param(with_raw(b"no release"), "not the JSON", id="no-gzip-no-json"),
    pytest.param(with_raw(gzip.compress(b"{}")[:3]), "not the JSON", id="magic-alone"),
    pytest.param(with_raw(gzip.compress(json.dumps(plain()).encode())[:-9]), "cut short", id="truncated-gzip"),
    pytest.param(with_raw(gzip.compress(json.dumps(plain()).encode())[:-4]), "cut short", id="truncated-checksum"),
    pytest.param(with_raw(gzip.compress(json.dumps(plain()).encode()) + b"junk"), "incorrect header", id="junk-after"),
    pytest.param(with_raw(gzip.compress(b"{}")[:-8] + b"\0" * 8), "incorrect data check", id="wrong-checksum"),
    pytest.param(with_raw(BOMB), "more than 64 MiB", id="bomb"),
    pytest.param(with_raw(gzip.compress(b" " * 40 * 1024**2) * 2), "more than 64 MiB", id="bomb-in-two-members"),
    pytest.param(with_raw(gzip.compress(b'{"name": "web"')), "not the JSON", id="truncated-json"),
    pytest.param(with_raw(gzip.compress(b'{"name": "\xff"}')), "not the JSON", id="no-utf-8"),
    pytest.param(with_raw(gzip.compress(b'{"config":' + b'{"a":' * 100_000)), "not the JSON", id="deep-json"),
    pytest.param(with_json(plain(manifest="\ud800")), "not the JSON", id="lone-surrogate"),
    pytest.param(with_json([]), "Expected `object`", id="json-list"),
    pytest.param(with_json(None), "Expected `object`", id="json-null"),
    pytest.param(with_json({}), "missing required field", id="empty-object"),
    pytest.param(with_json({"name": "web", "manifest": "a: 1"}), "missing required field `chart`", id="no-chart"),
    pytest.param(with_json({"chart": {}, "manifest": "a: 1"}), "missing required field `name`", id="no-name"),
    pytest.param(with_json(plain(manifest=None)), "$.manifest", id="null-manifest"),
    pytest.param(with_json(plain(manifest=["a"])), "$.manifest", id="manifest-is-a-list"),
    pytest.param(with_json(plain(hooks={"a": 1})), "$.hooks", id="hooks-are-an-object"),
    pytest.param(with_json(plain(hooks=["text"])), "$.hooks[0]", id="hook-is-text"),
    pytest.param(with_json(plain(hooks=[{"manifest": 1}])), "$.hooks[0].manifest", id="hook-manifest-is-a-number"),
    pytest.param(with_json(plain(chart=None)), "$.chart", id="null-chart"),
    pytest.param(with_json(plain(chart={"values": [1]})), "$.chart.values", id="values-are-a-list"),
    pytest.param(with_json(plain(config="x")), "$.config", id="config-is-text"),
]


@pytest.mark.parametrize(("secret", "seen"), UNDECODABLE)
def test_what_cannot_be_decoded_is_a_blocker(secret: dict[str, Any], seen: str) -> None:
    """It names the object, what was seen and what to do, and can be waived; the other revisions are read all the same."""
    found = findings(secret, release(2, "a:2"))
    (blocker,) = found.blockers
    assert blocker.where == "production"
    assert blocker.kind == "secrets"
    assert blocker.call == "reading secrets shop/sh.helm.release.v1.web.v3"
    assert seen in blocker.seen
    assert "revision 3" in blocker.seen
    assert blocker.remedy
    assert used(found) == {"a:2"}


def test_a_configmap_that_cannot_be_decoded_is_named_as_one() -> None:
    stored = helm_release("shop", "web", 3, "", kind="ConfigMap") | {"data": {"release": "H4sI"}}
    (blocker,) = findings(stored).blockers
    assert blocker.kind == "configmaps"
    assert "configmaps shop/sh.helm.release.v1.web.v3" in blocker.call


def test_what_no_longer_counts_does_not_block() -> None:
    assert blockers(findings(with_data("~~~"), release(4), release(5), revisions=2)) == ""


@pytest.mark.extended
def test_a_bomb_is_never_unpacked_beyond_the_limit() -> None:
    """A quarter of a gigabyte of nothing: memory stays near 64 MiB."""
    packer = zlib.compressobj(9, wbits=31)
    packed = b"".join(packer.compress(b"\0" * 1024**2) for _ in range(256)) + packer.flush()
    secret = with_raw(packed)
    tracemalloc.start()
    try:
        assert "more than 64 MiB" in blockers(findings(secret))
        assert tracemalloc.get_traced_memory()[1] < 2.5 * helm.MOST_BYTES
    finally:
        tracemalloc.stop()


def test_foreign_names_are_quoted_on_one_line() -> None:
    secret = with_data("~~~")
    secret["metadata"]["name"] = "sh.helm.release.v1.we\n::error::b\x1b[31m.v3"
    text = blockers(findings(secret))
    assert "\n" not in text
    assert "\x1b" not in text


def test_what_a_release_says_is_never_quoted() -> None:
    """Values hold passwords."""
    for value in (plain(config="hunter2"), plain(manifest=f'x: "{HOST}/ hunter2\n y: {{')):
        assert "hunter2" not in blockers(findings(with_json(value)))


# YAML that nobody should write

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"image: {HOST}/shop/web:1\n\tb: 1\n", id="tab"),
        pytest.param(f"image: {HOST}/shop/web:1\nb: \x00\n", id="control-character"),
        pytest.param(f"image: {HOST}/shop/web:1\nb: " + "[" * 100_000, id="deep-unclosed"),
        pytest.param(f"image: {HOST}/shop/web:1\nb: {'[' * 5000}{']' * 5000}\n", id="deep"),
        pytest.param(f"image: {HOST}/shop/web:1\n{LAUGHS}", id="billion-laughs"),
        pytest.param(f"image: {HOST}/shop/web:1\nb: &b [*b]\n", id="endless-alias"),
        pytest.param(f"image: {HOST}/shop/web:1\nb: *nobody\n", id="unknown-alias"),
        pytest.param(f"image: {HOST}/shop/web:1\n? [a, b]\n: c\n", id="list-as-key"),
        pytest.param(f"image: {HOST}/shop/web:1\na: &a [1]\n*a : c\n", id="list-as-key-by-alias"),
        pytest.param(f"spec: {{repository: {HOST}/shop/web, tag: 1\n", id="split-pair"),
    ],
)
def test_a_document_that_is_no_plain_yaml_is_read_as_text(text: str) -> None:
    """What it names stays. Its neighbours are read as ever."""
    found = findings(release(3, manifest=f"{text}\n---\nimage: {HOST}/shop/api:1\n"))
    assert {"shop/web:1", "shop/api:1"} <= used(found)
    assert not {"shop/api", "shop/web"} & used(found)
    assert blockers(found) == ""


def test_a_document_that_names_us_and_no_image_that_can_be_read_is_a_blocker() -> None:
    """Registry and repository stand apart, in text that no one can parse: a silent hole otherwise."""
    found = findings(release(3, "a:1", manifest=f"image: {{x: {HOST}, y: [shop/gone, 1\n"))
    (blocker,) = found.blockers
    assert (blocker.kind, "names our registry" in blocker.seen) == ("secrets", True)
    rest = f"a: [{HOST}\n---\nimage: {HOST}/shop/web:1\n"
    assert used(findings(release(3, manifest=rest, hooks=[manifest(f"{HOST}/b:1")]))) == {"shop/web:1", "b:1"}
    assert blockers(findings(release(3, manifest="registry: example.com\ntag: {\n"))) == ""


def test_values_nested_without_end_are_a_blocker() -> None:
    """The depth that JSON may have, a walk may not."""
    deep: Any = f"{HOST}/shop/web:1"
    for _ in range(900):
        deep = {"a": deep}
    found = findings(with_json(plain(config=deep)))
    assert "shop/web:1" in used(found)
    assert not found.blockers or "nested too deeply" in blockers(found)


# Anything at all

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
KEYS = st.sampled_from(["name", "chart", "manifest", "hooks", "config", "values", "version", "namespace"])


@given(st.binary(max_size=200))
def test_random_bytes_never_raise_and_never_pass(raw: bytes) -> None:
    for secret in (with_raw(raw), with_raw(helm._GZIP + raw), with_raw(gzip.compress(raw))):
        assert len(findings(secret).blockers) == 1


@given(st.text() | ANYTHING)
def test_random_data_never_raises_and_never_passes(data: object) -> None:
    assert len(findings(with_data(data)).blockers) == 1


@pytest.mark.extended
@given(st.dictionaries(KEYS, ANYTHING | st.dictionaries(KEYS, ANYTHING) | st.lists(st.dictionaries(KEYS, ANYTHING))))
def test_random_releases_never_raise(value: dict[str, Any]) -> None:
    findings(with_json(value))


@given(st.text() | st.text("&*a[]{}<:-?|>'\"\\#\n ", max_size=60))
def test_random_manifests_never_raise_and_hide_no_neighbour(text: str) -> None:
    found = findings(release(3, manifest=f"{text}\n---\nimage: {HOST}/shop/api:1\n"))
    assert "shop/api:1" in used(found)


@given(ANYTHING, ANYTHING, ANYTHING)
def test_random_objects_never_raise(metadata: object, labels: object, data: object) -> None:
    for more in ({"metadata": metadata}, {"metadata": {"labels": labels, "name": metadata, "namespace": labels}}):
        findings({**release(3), **more, "data": data})


@given(st.data())
def test_every_damage_to_a_real_release_is_seen(data: st.DataObject) -> None:
    """A flipped bit or a cut anywhere in the packed release is a blocker, or changes nothing."""
    raw = gzip.compress(json.dumps(plain()).encode(), mtime=0)
    at = data.draw(st.integers(0, len(raw) - 1))
    damaged = (
        raw[:at]
        if data.draw(st.booleans())
        else raw[:at] + bytes([raw[at] ^ 1 << data.draw(st.integers(0, 7))]) + raw[at + 1 :]
    )
    found = findings(with_raw(damaged))
    assert bool(found.blockers) != (used(found) == {"shop/web:1"})
