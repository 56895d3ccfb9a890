"""
The output forms of the stand-in for kubectl: JSON, JSONPath, names and tables.

Standard library alone, so that it starts quickly.
"""

# ruff: noqa: T201 - it is a command line program

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.emulator.kubernetes.jsonpath import JsonPathError, JsonPathIndexError, go_json, render
from tests.emulator.kubernetes.kubectl_arguments import Arguments, KubectlError

JSON = dict[str, Any]


def print_objects(arguments: Arguments, objects: list[JSON], *, single: bool) -> None:
    """
    Print objects in the form that `--output` names.

    `single`: the only object is not wrapped in a list.
    """
    output = arguments.flags.get("output", "")
    form, _, template = output.partition("=")
    whole: JSON = {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": objects}
    shown = objects[0] if single else whole
    if form == "json":
        if not arguments.on("show-managed-fields"):
            for obj in objects:
                obj["metadata"].pop("managedFields", None)
        print(go_json(shown, indent=4))
    elif form == "jsonpath":
        _print_jsonpath(template, shown)
    elif form == "jsonpath-file":
        _print_jsonpath(Path(template).read_text(), shown)
    elif form == "name":
        for obj in objects:
            group = obj["apiVersion"].rpartition("/")[0]
            suffix = f".{group}" if group else ""
            print(f"{obj['kind'].lower()}{suffix}/{obj['metadata']['name']}")
    elif form in {"", "wide"}:
        _print_table(arguments, objects)
    else:
        raise KubectlError(f'error: unable to match a printer suitable for the output format "{form}"')


def _print_jsonpath(template: str, value: JSON) -> None:
    try:
        sys.stdout.write(render(template, value))
    except JsonPathError as error:
        raise KubectlError(f"error: error parsing jsonpath {template}, {error}") from None
    except JsonPathIndexError as error:
        # The real program also prints the whole object after this text.
        raise KubectlError(
            f'error: error executing jsonpath "{template}": Error executing template: {error}.'
        ) from None


def _print_table(arguments: Arguments, objects: list[JSON]) -> None:
    if not objects:
        place = (
            "" if arguments.on("all-namespaces") else f" in {arguments.flags.get('namespace', 'default')} namespace."
        )
        print(f"No resources found{place}", file=sys.stderr)
        return
    labels = [name for name in arguments.flags.get("label-columns", "").split(",") if name]
    heads = ["NAMESPACE"] if arguments.on("all-namespaces") else []
    heads += ["NAME", "AGE", *(name.rpartition("/")[2].upper() for name in labels)]
    rows = [] if arguments.on("no-headers") else [heads]
    for obj in objects:
        meta = obj["metadata"]
        row = [meta.get("namespace", "")] if arguments.on("all-namespaces") else []
        rows.append([*row, meta["name"], _age(meta), *((meta.get("labels") or {}).get(name, "") for name in labels)])
    print_columns(rows)


def _age(meta: JSON) -> str:
    """Return the whole days since an object was created."""
    created = datetime.fromisoformat(meta["creationTimestamp"])
    return f"{(datetime.now(UTC) - created).days}d"


def print_columns(rows: list[list[str]]) -> None:
    """Print rows as Go's tabwriter does: three spaces between columns, none after the last."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        *cells, last = row
        print("".join(f"{cell:<{max(width + 3, 6)}}" for cell, width in zip(cells, widths, strict=False)) + last)
