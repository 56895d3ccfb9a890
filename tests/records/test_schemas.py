"""The published schemas are made from the Structs, and describe every member."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from typing import Any

import jsonschema
import msgspec
import pytest

from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.records.parts import RecordedPolicy
from acr_cleanup.records.schemas import DOCUMENTS, schema
from tests.helpers.paths import ROOT
from tests.helpers.recorded_world import FOLDER

SCHEMAS = ROOT / "docs" / "schemas"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_published_schema_matches_the_code(name: str) -> None:
    """`UPDATE_CONTRACT=1 make contract` writes it."""
    path = SCHEMAS / f"{name}.schema.json"
    text = json.dumps(schema(name), indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_CONTRACT"):
        SCHEMAS.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    jsonschema.Draft202012Validator.check_schema(schema(name))
    assert path.read_text("utf-8") == text, f"{path.name} differs from the code: UPDATE_CONTRACT=1 make contract"


def test_each_published_schema_has_a_document() -> None:
    assert {path.name for path in SCHEMAS.iterdir()} == {f"{name}.schema.json" for name in DOCUMENTS}


@pytest.mark.parametrize(
    ("name", "file"),
    [
        *(("report", f"{run}.report.json") for run in ("planned", "applied", "refused", "shard", "hostile")),
        ("plan", "plan.json"),
        ("snapshot", "usage.json"),
    ],
)
def test_recorded_document_matches_the_schema(name: str, file: str) -> None:
    """Documents of version 0.1 match the schemas of today."""
    document = json.loads((FOLDER / file).read_text("utf-8"))
    jsonschema.Draft202012Validator(schema(name), format_checker=jsonschema.FormatChecker()).validate(document)


def test_recorded_journal_lines_match_the_schema() -> None:
    validator = jsonschema.Draft202012Validator(schema("journal"))
    for line in (FOLDER / "journal.jsonl").read_text("utf-8").splitlines():
        validator.validate(json.loads(line))


def texts_without_description(name: str) -> list[str]:
    """Return the definitions that have no description."""
    described = schema(name)
    definitions: dict[str, Any] = {name: described, **described["$defs"]}
    return [
        key
        for key, definition in definitions.items()
        if "anyOf" not in definition and not definition.get("description")
    ]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_definition_has_a_description(name: str) -> None:
    assert texts_without_description(name) == []


def test_recorded_policy_has_each_option_of_the_policy() -> None:
    """An option that is forgotten here would be missing in reports and plans."""
    assert set(RecordedPolicy.__struct_fields__) == {field.name for field in fields(RetentionPolicy)}
    assert RecordedPolicy.of(RetentionPolicy()) == msgspec.convert(
        msgspec.to_builtins(RecordedPolicy.of(RetentionPolicy())), RecordedPolicy
    )
