"""What a parameter may be, in words."""

from __future__ import annotations

from typing import Any

_PLAIN = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def in_words(kind: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Return a JSON schema in words.

    Args:
        kind: the schema of one value, as pydantic writes it.
        definitions: the schemas that it refers to, by name.
    """
    if "$ref" in kind:
        kind = definitions[kind["$ref"].rpartition("/")[2]]
    if "anyOf" in kind:
        return " or ".join(in_words(one, definitions) for one in kind["anyOf"])
    if "enum" in kind:
        return _choice(kind["enum"])
    if kind.get("type") == "array":
        return f"list of: {in_words(kind.get('items', {}), definitions)}"
    if kind.get("type") == "object":
        inner = kind.get("additionalProperties")
        each = f": {in_words(inner, definitions)}" if isinstance(inner, dict) else ""
        return f"values by name{each}"
    bounds = [f"{sign} {kind[bound]}" for bound, sign in _BOUNDS.items() if bound in kind]
    return " ".join([_PLAIN.get(kind.get("type", ""), "text or list"), ", ".join(bounds)]).strip()


def _choice(values: list[Any]) -> str:
    *others, last = [f"`{value}`" for value in values]
    return f"{', '.join(others)} or {last}" if others else last
