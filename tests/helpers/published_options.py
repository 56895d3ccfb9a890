"""The published forms of the options: inputs of action.yml and task.json, and the documentation."""

from __future__ import annotations

import json
import re
from typing import Any

from acr_cleanup.runtimes.azure_devops import AzureDevOps
from acr_cleanup.settings import OPTIONS, InputKind, Option, Way
from acr_cleanup.settings.option import Group

name_in_task = AzureDevOps(environ={}).name_of


def options_of(way: Way) -> list[Option]:
    return [option for option in OPTIONS if option.ways & way]


def _description(option: Option) -> str:
    """Return the description with the choices, the form, and a default that is not declared."""
    text = option.description
    if option.choices:
        text += f" One of: {', '.join(option.choices)}."
    if option.kind.input is InputKind.LIST and "one per line" not in text:
        text += " One per line."
    if option.default and not option.action_default:
        text += f" Default: {option.default}."
    return text


def inputs_of_action() -> str:
    """Return the block `inputs:` of action.yml."""
    rows = ["inputs:"]
    for option in options_of(Way.ACTION):
        rows += [
            f"  {option.name}:",
            f"    description: {json.dumps(_description(option), ensure_ascii=False)}",
            "    required: false",
        ]
        rows += [f"    default: {json.dumps(option.action_default)}"] if option.action_default else []
    return "\n".join(rows)


def table_of_documentation() -> str:
    """Return the table in docs/configuration.md. An option that only the file has is shown as its key."""
    rows = ["| Input | Default | Meaning |", "| :--- | :--- | :--- |"]
    for option in OPTIONS:
        name = option.name if option.ways & Way.PIPELINE else option.key
        choices = f" One of: {', '.join(f'`{choice}`' for choice in option.choices)}." if option.choices else ""
        default = f"`{option.default}`" if option.default else ""
        rows.append(f"| `{name}` | {default} | {cell(option.description + choices)} |")
    return "\n".join(rows)


def cell(text: str) -> str:
    """Escape a text for a cell of a Markdown table."""
    # The asterisk of a glob would begin an emphasis.
    return text.replace("|", r"\|").replace("*", r"\*")


def groups_of_task() -> list[dict[str, Any]]:
    """Return the groups of task.json."""
    return [
        {"name": group.name.lower(), "displayName": group.value, "isExpanded": group is Group.CLEAN}
        for group in Group
        if group.value
    ]


def inputs_of_task() -> list[dict[str, Any]]:
    """Return the inputs of task.json that are options."""
    return [_input_of_task(option) for option in options_of(Way.TASK)]


def _input_of_task(option: Option) -> dict[str, Any]:
    default = option.action_default
    label = option.label or option.name.replace("-", " ").capitalize()
    entry: dict[str, Any] = {"name": name_in_task(option.name), "type": "string", "label": label}
    match option.kind.input:
        case InputKind.LIST:
            entry["type"] = "multiLine"
        case InputKind.NUMBER:
            entry["type"] = "int"
        case InputKind.PATH:
            entry["type"] = "filePath"
        case InputKind.CHOICE:
            entry |= {"type": "pickList", "options": {choice: choice for choice in option.choices}}
        case InputKind.BOOLEAN if default:
            entry["type"] = "boolean"
        case InputKind.BOOLEAN:
            # An untouched check box passes false, which would override the file. A list can be
            # empty.
            entry |= {"type": "pickList", "options": {"true": "true", "false": "false"}}
    entry["required"] = False
    if default:
        entry["defaultValue"] = default
    if option.group.value:
        entry["groupName"] = option.group.name.lower()
    return entry | {"helpMarkDown": _with_task_names(_description(option))}


def _with_task_names(text: str) -> str:
    """Return a description with the names of inputs in Azure Pipelines."""
    for option in sorted(OPTIONS, key=lambda option: -len(option.name)):
        if "-" in option.name:
            text = re.sub(rf"(?<![\w-]){option.name}(?![\w-])", name_in_task(option.name), text)
    return text.replace("`", "")


def inputs_of_handler() -> list[dict[str, str]]:
    """Return the inputs of contract.json, which the handler of the task reads."""
    return [
        {"task": name_in_task(option.name), "input": option.name, "kind": str(option.kind.input)}
        for option in options_of(Way.TASK)
    ]
