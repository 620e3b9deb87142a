"""The chart's README: its head, and every value with the comment above it in values.yaml. A value without a comment is an error."""

import json
import re
from typing import Any, NamedTuple

import yaml

from generated import Generated
from rendering import CHART, Chart

MARK = "<!-- values -->"


class Value(NamedTuple):
    """A value that is explained."""

    path: str
    default: Any
    text: str


def explained(text: str) -> tuple[list[Value], list[str]]:
    """Every value of the file with its comment, and the paths of those without one.

    A comment that begins with `# --` explains the key below it, and all that is in it. Keys with a comment further down need none.
    """
    root = yaml.compose(text, yaml.SafeLoader)
    lines = text.splitlines()
    values: list[Value] = []
    missing: list[str] = []

    def comment(line: int) -> str:
        found: list[str] = []
        while line > 0 and lines[line - 1].lstrip().startswith("#"):
            line -= 1
            found.insert(0, lines[line].lstrip()[1:].strip())
            if found[0].startswith("-- "):
                return " ".join(found)[3:]
        return ""

    def walk(node: yaml.MappingNode, prefix: str) -> None:
        for key, value in node.value:
            path = f"{prefix}{key.value}"
            said = comment(key.start_mark.line)
            if said:
                values.append(Value(path, yaml.safe_load(yaml.serialize(value)), said))
            elif isinstance(value, yaml.MappingNode) and value.value:
                walk(value, f"{path}.")
            else:
                missing.append(path)

    walk(root, "")
    return values, missing


def shown(value: Any) -> str:
    """A default in a cell of a table."""
    text = json.dumps(value, ensure_ascii=False)
    return f"`{text}`" if len(text) <= 60 else "see values.yaml"


def table(values: list[Value]) -> str:
    """The values as a table, in the file's order."""
    rows = ["| Value | Default | |", "|---|---|---|"]
    rows += [f"| `{value.path}` | {shown(value.default)} | {value.text.replace('|', chr(92) + '|')} |" for value in values]
    return "\n".join(rows) + "\n"


def unknown_to_schema(values: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """Keys of values.yaml that the schema lacks, and keys of the schema's own objects that values.yaml lacks."""
    definitions = schema["definitions"]

    def resolve(part: dict[str, Any]) -> dict[str, Any]:
        return definitions[part["$ref"].rpartition("/")[2]] if "$ref" in part else part

    def walk(values: dict[str, Any], part: dict[str, Any], prefix: str) -> list[str]:
        known = resolve(part).get("properties", {})
        if not known:
            return []
        problems = [f"{prefix}{key} is in values.yaml, not in values.schema.json" for key in values if key not in known]
        for key, inner in known.items():
            if key not in values:
                # Maps that are empty by default, and fields that only somebody's own values have.
                if values and not re.match(r"(podDisruptionBudget|.*resources|.*Probe)\.", f"{prefix}{key}"):
                    problems.append(f"{prefix}{key} is in values.schema.json, not in values.yaml")
            elif isinstance(values[key], dict):
                problems += walk(values[key], inner, f"{prefix}{key}.")
        return problems

    return walk(values, schema, "")


def add(made: Generated, chart: Chart) -> list[str]:
    """Wants the README. Returns values that nothing explains."""
    text = (CHART / "values.yaml").read_text()
    values, missing = explained(text)
    readme = CHART / "README.md"
    head, mark, _ = readme.read_text().partition(MARK) if readme.exists() else ("", "", "")
    problems = [f"values.yaml: {path} has no comment" for path in missing]
    problems += unknown_to_schema(chart.helm.values, chart.helm.schema or {})
    if not mark:
        return [*problems, f"README.md has no line {MARK}"]
    made.file(readme, f"{head}{MARK}\n\n{table(values)}")
    return problems
