"""The emulated registry against the official description of the real one: every answer has the shape promised there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from acr_cleanup.emulator import World
from acr_cleanup.emulator.registry import DOCKER_MANIFEST, OCI_MANIFEST
from acr_cleanup.emulator.repository import DOCKER_LIST
from tests.emulator.support import Answer, RegistryClient, registry_client

SWAGGER = Path(__file__).parents[3] / "shared/data/acr-wire/acr-swagger-2021-07-01/containerregistry.json"

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(not SWAGGER.exists(), reason=f"the public description {SWAGGER} is not on this machine"),
]

# (method, path as sent, path as described, status)
OPERATIONS = [
    ("GET", "/v2/", "/v2/", 200),
    ("GET", "/acr/v1/_catalog", "/acr/v1/_catalog", 200),
    ("GET", "/acr/v1/shop%2Fweb", "/acr/v1/{name}", 200),
    ("PATCH", "/acr/v1/shop%2Fweb", "/acr/v1/{name}", 200),
    ("GET", "/acr/v1/shop%2Fweb/_tags", "/acr/v1/{name}/_tags", 200),
    ("GET", "/acr/v1/shop%2Fweb/_tags/1.0", "/acr/v1/{name}/_tags/{reference}", 200),
    ("PATCH", "/acr/v1/shop%2Fweb/_tags/1.0", "/acr/v1/{name}/_tags/{reference}", 200),
    ("DELETE", "/acr/v1/shop%2Fweb/_tags/1.0", "/acr/v1/{name}/_tags/{reference}", 202),
    ("GET", "/acr/v1/shop%2Fweb/_manifests", "/acr/v1/{name}/_manifests", 200),
    ("GET", "/acr/v1/shop%2Fweb/_manifests/{index}", "/acr/v1/{name}/_manifests/{digest}", 200),
    ("GET", "/acr/v1/shop%2Fweb/_manifests/{image}", "/acr/v1/{name}/_manifests/{digest}", 200),
    ("PATCH", "/acr/v1/shop%2Fweb/_manifests/{image}", "/acr/v1/{name}/_manifests/{digest}", 200),
    ("GET", "/v2/shop%2Fweb/manifests/1.0", "/v2/{name}/manifests/{reference}", 200),
    ("GET", "/v2/shop%2Fweb/manifests/{index}", "/v2/{name}/manifests/{reference}", 200),
    ("GET", "/v2/shop%2Fweb/manifests/{oci}", "/v2/{name}/manifests/{reference}", 200),
    ("DELETE", "/v2/shop%2Fweb/manifests/{image}", "/v2/{name}/manifests/{reference}", 202),
    ("DELETE", "/acr/v1/shop%2Fweb", "/acr/v1/{name}", 202),
]


@pytest.fixture(scope="module")
def swagger() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(SWAGGER.read_text(encoding="utf-8"))
    return loaded


@pytest.fixture
async def registry() -> AsyncIterator[RegistryClient]:
    async with registry_client(World()) as client:
        yield client


def conforms(swagger: dict[str, Any], method: str, path: str, answer: Answer) -> None:
    """Fails unless the body and the headers are those that the description promises."""
    promised = swagger["paths"][path][method.lower()]["responses"][str(answer.status)]
    schema = promised.get("schema")
    if schema:
        validator = jsonschema.Draft4Validator({**schema, "definitions": swagger["definitions"]})
        validator.validate(json.loads(answer.body))
    for header in promised.get("headers", {}):
        # A Link is only there when there is a next page.
        assert header in answer.headers or header == "Link"


@pytest.mark.parametrize(("method", "path", "described", "status"), OPERATIONS)
async def test_every_operation_answers_as_described(
    registry: RegistryClient, swagger: dict[str, Any], method: str, path: str, described: str, status: int
) -> None:
    state = registry.emulator.world.registry
    image = state.push("shop/web", "1.0", media_type=DOCKER_MANIFEST)
    oci = state.push("shop/web", media_type=OCI_MANIFEST)
    index = state.push_index("shop/web", "all", children=[image, oci], media_type=DOCKER_LIST)
    state.push_referrer("shop/web", image)
    body = {"json": {"writeEnabled": True}} if method == "PATCH" else {}
    answer = await registry.call(method, path.format(image=image, oci=oci, index=index), **body)
    assert answer.status == status
    conforms(swagger, method, described, answer)


async def test_a_push_answers_as_described(registry: RegistryClient, swagger: dict[str, Any]) -> None:
    state = registry.emulator.world.registry
    body = state.repositories
    digest = state.push("shop/web", "1.0")
    content = body["shop/web"].manifests[digest].body
    answer = await registry.call("PUT", "/v2/shop%2Fweb/manifests/2.0", data=content)
    assert answer.status == 201
    conforms(swagger, "PUT", "/v2/{name}/manifests/{reference}", answer)


async def test_tokens_are_given_as_described(registry: RegistryClient, swagger: dict[str, Any]) -> None:
    emulator = registry.emulator
    service = emulator.registry_url
    token = emulator.issue_token(emulator.world.registry.audience, "somebody")
    form = {"grant_type": "access_token", "service": service, "access_token": token}
    exchanged = await registry.call("POST", "/oauth2/exchange", data=form)
    conforms(swagger, "POST", "/oauth2/exchange", exchanged)
    form = {
        "grant_type": "refresh_token",
        "service": service,
        "scope": "registry:catalog:*",
        "refresh_token": exchanged.json["refresh_token"],
    }
    conforms(swagger, "POST", "/oauth2/token", await registry.call("POST", "/oauth2/token", data=form))


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/acr/v1/nobody"), ("GET", "/v2/nobody/manifests/1"), ("DELETE", "/acr/v1/locked")]
)
async def test_errors_have_the_described_shape(
    registry: RegistryClient, swagger: dict[str, Any], method: str, path: str
) -> None:
    state = registry.emulator.world.registry
    state.push("locked", "1.0")
    state.lock("locked")
    answer = await registry.call(method, path)
    assert answer.status in {404, 405}
    schema = {"$ref": "#/definitions/AcrErrors", "definitions": swagger["definitions"]}
    jsonschema.Draft4Validator(schema).validate(answer.json)
    assert answer.code


def test_the_judge_can_say_no(swagger: dict[str, Any]) -> None:
    """A body without a required field, or with a field of the wrong type, does not pass."""
    for wrong in ({"registry": "r", "imageName": "i"}, {"registry": "r", "imageName": "i", "tags": "none"}):
        with pytest.raises(jsonschema.ValidationError):
            conforms(swagger, "GET", "/acr/v1/{name}/_tags", Answer(200, {}, json.dumps(wrong).encode(), wrong))
