"""
The JSON schemas of the documents. They are made from the Structs, with the docstrings of their
fields.

`UPDATE_CONTRACT=1 make contract` writes them to docs/schemas.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import msgspec

from acr_cleanup.records import journal_lines, ledger, parts, plan, report, snapshot

DOCUMENTS: Mapping[str, tuple[str, Any]] = {
    "report": ("acr-cleanup report", report.Report),
    "plan": ("acr-cleanup plan", plan.PlanDocument),
    "journal": ("acr-cleanup journal: one line", journal_lines.Line),
    "snapshot": ("acr-cleanup usage snapshot", snapshot.Snapshot),
    "ledger": ("acr-cleanup ledger", ledger.Ledger),
}
"""Name of the schema -> its title and the type that it describes."""


def schema(name: str) -> dict[str, Any]:
    """Return the JSON schema of a document; `name` is a key of `DOCUMENTS`."""
    title, document = DOCUMENTS[name]
    # JSON schemas have the regular expressions of JavaScript, which does not know \\A and \\Z.
    text = json.dumps(msgspec.json.schema(document)).replace(r"\\A", "^").replace(r"\\Z", "$")
    described: dict[str, Any] = json.loads(text, object_hook=_with_sorted_choices)
    definitions: dict[str, Any] = described.pop("$defs")
    for module in (parts, journal_lines, ledger, plan, report, snapshot):
        for definition in definitions.keys() & vars(module).keys():
            for field, description in _descriptions(vars(module)[definition]).items():
                definitions[definition]["properties"][field]["description"] = description
    # A readable schema begins with its document, not with a reference to it.
    top = definitions.pop(described["$ref"].rpartition("/")[2]) if "$ref" in described else described
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", **top, "title": title}
    return {**head, "$defs": definitions}


def _with_sorted_choices(node: dict[str, Any]) -> dict[str, Any]:
    # msgspec lists the values of a Literal in another order in each process.
    return {**node, "enum": sorted(node["enum"])} if "enum" in node else node


def _descriptions(document: type[msgspec.Struct]) -> dict[str, str]:
    """Return the docstrings of the fields, which only the source has."""
    descriptions: dict[str, str] = {}
    for base in reversed(document.__mro__):
        if base.__module__.startswith(parts.__package__ or ""):
            (tree,) = ast.parse(inspect.getsource(base)).body
            for field, text in pairwise(ast.iter_child_nodes(tree)):
                match field, text:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(docstring))):
                        descriptions[name] = " ".join(docstring.split())
    return descriptions
