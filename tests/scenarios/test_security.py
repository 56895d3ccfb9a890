"""What the threat model of SECURITY.md promises, as far as no other test holds it: each test is one sentence of it."""

from __future__ import annotations

import ast
import gzip
import json
import os
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from azure.core.exceptions import ServiceRequestError

import acr_cleanup
from acr_cleanup.access.network import open_network
from acr_cleanup.clusters.images import helm_history as helm
from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes.kubeconfig import kubeconfig
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.errors import RegistryError
from acr_cleanup.pipeline import ReportFolder, SnapshotFile
from acr_cleanup.records.journal import open_journal
from acr_cleanup.reports import files
from acr_cleanup.reports.context import Context
from tests.access.test_network import get, serve
from tests.clusters.images.test_helm_history import HOST, blockers, findings, plain, release, used, with_json, with_raw
from tests.helpers import sample_results as samples
from tests.helpers.generated_inventories import NOW
from tests.helpers.registry_clients import emulated_registry
from tests.helpers.stage import staged
from tests.records.test_journal import PLAN

PACKAGE = Path(acr_cleanup.__file__).parent
SOURCES = [*sorted(PACKAGE.rglob("*.py")), PACKAGE.parent / "entrypoint.py"]


# -- no shell, no code of others, no unverified connection: what the source never says -------------------------

FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "breakpoint",
    "os.system", "os.popen", "os.exec*", "os.spawn*", "os.posix_spawn*", "os.startfile",
    "subprocess.*", "asyncio.create_subprocess_*", "pty.*", "ctypes.*",
    "pickle.*", "marshal.*", "shelve.*", "dill.*", "importlib.import_module", "runpy.*",
    "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.unsafe_load_all",
    "ssl._create_unverified_context", "ssl.wrap_socket", "tempfile.mktemp", "xml.*",
    "ssl.CERT_NONE",
}  # fmt: skip
ALLOWED = {
    (
        "clusters/kubeconfig.py",
        "ssl.CERT_NONE",
    ): "a kubeconfig may say insecure-skip-tls-verify, of its own cluster alone",
    ("clusters/kubeconfig.py", "yaml.load"): "with the safe loader, in C, of what is known not to be deep",
    ("demo.py", "asyncio.create_subprocess_exec"): "the demo runs this very program, with words of its own",
    (
        "emulator/runcommand.py",
        "asyncio.create_subprocess_exec",
    ): "the emulator runs what the product sends to a cluster",
    ("emulator/runcommand.py", "subprocess.DEVNULL"): "a constant",
    ("emulator/__init__.py", "importlib.import_module"): "two modules of its own, by names that stand there",
    (
        "core/packed.py",
        "pickle.*",
    ): "plans of this process, packed and unpacked in its own memory; never from a file or a wire",
}


def said(tree: ast.AST) -> Iterator[str]:
    """Every dotted name that the source uses, by the name under which its module is known there, and each plain call."""
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {each.asname or each.name: each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            known |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Attribute):
            parts, inner = [node.attr], node.value
            while isinstance(inner, ast.Attribute):
                parts.append(inner.attr)
                inner = inner.value
            if isinstance(inner, ast.Name) and inner.id in known:
                yield ".".join([known[inner.id], *reversed(parts)])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield known.get(node.func.id, node.func.id)
        if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
            if node.arg in ("shell", "trust_env") and node.value.value is True:
                yield f"{node.arg}=True"
            if (
                node.arg in ("ssl", "verify", "verify_ssl", "connection_verify", "check_hostname")
                and node.value.value is False
            ):
                yield f"{node.arg}=False"


def matches(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def faults_of(source: str, place: str) -> set[str]:
    return {
        name
        for name in said(ast.parse(source))
        if ("=" in name or any(matches(name, each) for each in FORBIDDEN))
        and not any(place == where and matches(name, what) for where, what in ALLOWED)
    }


def test_no_shell_no_foreign_code_and_no_unverified_connection() -> None:
    found = []
    for path in SOURCES:
        place = str(path.relative_to(PACKAGE)) if path.is_relative_to(PACKAGE) else path.name
        found += [f"{place}: {name}" for name in faults_of(path.read_text(encoding="utf-8"), place)]
    assert found == []
    assert len(SOURCES) > 100


def test_the_search_of_the_source_finds_what_it_looks_for() -> None:
    source = (
        "import os, subprocess as s, yaml, pickle, ssl\nfrom subprocess import run\nfrom os import system as quietly\n"
        "def f(x):\n  os.system(x); s.run(x, shell=True); yaml.load(x); pickle.loads(x); eval(x); quietly(x)\n"
        "  session.get(x, ssl=False); ssl.CERT_NONE; os.execv(x, [])\n"
    )
    assert faults_of(source, "main.py") == {
        "os.system", "subprocess.run", "shell=True", "yaml.load", "pickle.loads", "eval", "ssl=False", "ssl.CERT_NONE", "os.execv",
    }  # fmt: skip


# -- TLS -------------------------------------------------------------------------------------------------------


async def test_no_service_is_spoken_to_whose_certificate_nobody_trusts() -> None:
    """Neither the registry nor Entra ID, the resource manager, the issuer of ID tokens or an API server."""
    world = World(clusters={"production": ClusterState("aks-prod")})
    async with Emulator(world) as emulator:
        places = [
            f"https://{emulator.registry_url}",
            emulator.authority_url,
            emulator.resource_manager,
            emulator.oidc_url,
        ]
        places.append(emulator.kubernetes_url("production"))
        async with open_network({}) as network:
            for place in places:
                with pytest.raises(ServiceRequestError, match=r"(?i)certificate verify failed"):
                    await get(network, place, Authorization="Bearer secret")
        assert world.requests == []
        async with open_network({"SSL_CERT_FILE": emulator.ca_file}) as network:
            for place in places:
                await get(network, place)
        assert len(world.requests) == len(places)


async def test_a_certificate_for_another_name_is_none(tmp_path: Path) -> None:
    async with serve(tmp_path) as server, open_network({"SSL_CERT_FILE": str(server.ca_file)}) as network:
        await get(network, server.url)
        with pytest.raises(ServiceRequestError, match=r"(?i)certificate verify failed"):
            await get(network, server.url.replace("localhost", "127.0.0.1"))
        assert len(server.requests) == 1


# -- what a kubeconfig would execute ---------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["./trap", "kubelogin"])
async def test_no_program_of_a_kubeconfig_runs_in_a_whole_run(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a script beside it, nor one on the PATH that is called as the one whose place we take."""
    trace = tmp_path / "trace"
    for name in ("trap", "kubelogin"):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {trace}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    async with staged(tmp_path, monkeypatch, "direct") as stage:
        stage.cluster.auth = "entra"
        emulator = stage.tool.emulator
        document = yaml.safe_load(
            kubeconfig(
                stage.cluster,
                server=emulator.kubernetes_url(stage.cluster),
                ca_pem=emulator.authority.ca_pem,
                role="clusterUser",
                auth="token",
                tenant=stage.world.directory.tenant,
                certificate=("", ""),
            )
        )
        program = {"apiVersion": "client.authentication.k8s.io/v1", "command": command, "args": ["get-token"]}
        document["users"][0]["user"] = {"exec": {**program, "interactiveMode": "Never"}}
        (tmp_path / "config").write_text(yaml.safe_dump(document))
        config = stage.tool.emulator.config() | {"kubernetes_clusters": {"any": {"kubeconfig": "config"}}}
        ran = await stage.tool.plan(config)

        assert ran.code == (0 if command == "kubelogin" else 3), ran.out + ran.err
        assert not trace.exists()


# -- what is packed small and is large -------------------------------------------------------------------------


def ten_gigabytes() -> bytes:
    """Gzip that unpacks to ten gigabytes, made of one megabyte of nothing over and over: each piece stands alone."""
    packer = zlib.compressobj(9, wbits=-15)
    piece = packer.compress(b" " * 1024**2) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + piece * 10 * 1024


@pytest.mark.parametrize(
    ("packed", "seen"),
    [
        pytest.param(ten_gigabytes, "more than 64 MiB", id="ten-gigabytes"),
        pytest.param(lambda: gzip.compress(gzip.compress(b" " * 10 * 1024**2)), "not the JSON", id="gzip-in-gzip"),
        pytest.param(
            lambda: gzip.compress(b'{"name":"web","chart":{},"config":{"a":[' + b"[]," * 5_000_000 + b"[]]}}"),
            "more than 250,000 values",
            id="five-million-values",
        ),
        pytest.param(
            lambda: gzip.compress(b'{"name":"web","chart":{"values":{"a":[' + b"{}," * 5_000_000 + b"{}]}}}"),
            "more than 250,000 values",
            id="five-million-defaults",
        ),
        pytest.param(
            lambda: gzip.compress(json.dumps(plain(manifest=f"a: {HOST}/a:1\n---\n" * 500_000)).encode()),
            "far larger than any manifest",
            id="half-a-million-documents",
        ),
        pytest.param(
            lambda: gzip.compress(json.dumps(plain(manifest=f"- {HOST}/a:1\n" * 500_000)).encode()),
            "far larger than any manifest",
            id="half-a-million-images",
        ),
    ],
)
def test_a_release_that_is_a_bomb_costs_little_and_blocks(packed: Any, seen: str) -> None:
    """Whoever may write a Secret must not be able to stop, or to starve, whoever reads it. The other revisions are read."""
    secret = with_raw(packed())
    began = time.process_time()
    found = findings(secret, release(2, "a:2"))
    assert seen in blockers(found)
    assert used(found) == {"a:2"}
    assert time.process_time() - began < 10, "minutes and gigabytes, without the limits"


def test_a_bomb_of_values_takes_no_memory() -> None:
    secret = with_raw(gzip.compress(b'{"name":"web","chart":{},"config":{"a":[' + b"[]," * 2_000_000 + b"[]]}}"))
    tracemalloc.start()
    try:
        findings(secret)
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024**2
    finally:
        tracemalloc.stop()


def test_ordinary_releases_are_far_from_the_limits() -> None:
    """Three hundred objects, five thousand values, and dashboards full of commas."""
    documents = [f"kind: Deployment\nspec: {{image: {HOST}/shop/web:{number}}}\n" for number in range(300)]
    documents += [f"kind: ConfigMap\ndata: {{dashboard: '{json.dumps(list(range(20_000)))}'}}\n"] * 10
    values = {f"key{number}": {"a": number, "b": [number] * 3} for number in range(1000)}
    found = findings(with_json(plain(manifest="---\n".join(documents), config=values)))
    assert not found.blockers
    assert len(used(found)) == 300
    assert helm.MOST_DOCUMENTS > 10 * 300


async def test_an_answer_that_unpacks_without_end_is_cut_short() -> None:
    """What it says to be its length is that of the packed one."""
    world = World()
    world.registry.push("shop/web", "1.0")
    body, packed = gzip.compress(b" " * 64 * 1024**2), {"Content-Encoding": "gzip"}
    world.faults.append(Fault(service="acr", path="/oauth2/exchange", status=200, headers=packed, body=body))
    async with emulated_registry(world) as at:
        tracemalloc.start()
        try:
            with pytest.raises(RegistryError):
                await at.registry.list_repository("shop/web")
            assert tracemalloc.get_traced_memory()[1] < 24 * 1024**2
        finally:
            tracemalloc.stop()


# -- paths and links -------------------------------------------------------------------------------------------

OUTSIDE = ("..", "../x", "/etc/x", "a/../../x", "link", "link/x", "loop/x", "nul\0", "~root/../../x", "a/b/../../../x")


@pytest.mark.parametrize("named", OUTSIDE)
def test_what_lies_outside_the_workspace_is_never_written_to(named: str, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "link").symlink_to(tmp_path)
    (workspace / "loop").symlink_to("loop")
    for problems in (ReportFolder(workspace, Path(named)).problems(), SnapshotFile(workspace, Path(named)).problems()):
        assert [each.seen for each in problems] == [f"{named!r} is not inside the workspace."]


@pytest.mark.parametrize(
    "planted", [".acr-cleanup", ".report.json.part", ".plan.json.part", ".summary.md.part", *files.names()]
)
@pytest.mark.parametrize("reviewed", [None, b"{}"])
def test_links_in_the_report_folder_lead_nowhere(planted: str, reviewed: bytes | None, tmp_path: Path) -> None:
    """A branch that is checked out may hold them, and the step may be root."""
    precious, absent = tmp_path / "precious", tmp_path / "absent"
    for target in (precious, absent):
        folder = tmp_path / f"report-{target.name}"
        folder.mkdir()
        precious.write_text("precious")
        (folder / planted).symlink_to(target)
        files.prepare(folder)
        files.write(samples.applied(), folder, Context(), reviewed)

        assert precious.read_text() == "precious"
        assert not absent.exists()
        assert {each.name for each in folder.iterdir() if not each.is_symlink()} >= set(files.names())


def test_a_link_in_place_of_the_journal_is_put_aside_as_a_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "journal.jsonl").symlink_to(precious)
    with open_journal(folder, PLAN, NOW, {}):
        pass

    assert precious.read_text() == "precious"
    assert precious.stat().st_nlink == 1, "no second name of it lies in the workspace, to be given away"
    assert not (folder / "journal.jsonl").is_symlink()


def test_a_journal_of_an_impossible_time_is_put_aside(tmp_path: Path) -> None:
    """Before the year 1 in UTC."""
    (tmp_path / "journal.jsonl").write_text('{"started_at": "0001-01-01T00:00:00+14:00"}\n')
    with open_journal(tmp_path, PLAN, NOW, {}):
        pass
    assert len(list(tmp_path.glob("journal-*.jsonl"))) == 1
