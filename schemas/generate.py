"""Writes the JSON Schema of each event type from its model: `python -m schemas.generate`."""

import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import TupleSchema, WithDefaultSchema

from schemas.event import Event, EventType
from schemas.parsing import EVENT_MODELS

FOLDER = Path(__file__).parent / "json"
MAJOR_VERSION = 1


class _Plain(GenerateJsonSchema):
    """pydantic's schema without titles that repeat names, null defaults and equal items one by one."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        plain = super().default_schema(schema)
        if plain.get("default", ...) is None:
            del plain["default"]
        return plain

    def tuple_schema(self, schema: TupleSchema) -> JsonSchemaValue:
        plain = super().tuple_schema(schema)
        items = plain.get("prefixItems", [])
        if items and all(item == items[0] for item in items):
            plain["items"] = plain.pop("prefixItems")[0]
        return plain


def json_schema(event_type: EventType) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of `event_type`.

    It states types, forms, limits and which fields a standing version needs. What needs a calculation is left
    to the model: dates against each other, units and plausible results, and pseudonyms.
    """
    model = EVENT_MODELS[event_type]
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": f"urn:week12:schema:{event_type}:{MAJOR_VERSION}",
        **model.model_json_schema(schema_generator=_Plain),
        **_unless_retracted(model),
    }


def _unless_retracted(model: type[Event]) -> dict[str, Any]:
    is_retracted = {"properties": {"retracted": {"const": True}}, "required": ["retracted"]}
    return {"if": is_retracted, "else": {"allOf": model.schema_rules()}}


def schema_text(event_type: EventType) -> str:
    """The content of the event type's schema file."""
    return json.dumps(json_schema(event_type), indent=2, ensure_ascii=False) + "\n"


def schema_path(event_type: EventType) -> Path:
    """Where the event type's schema file is kept."""
    return FOLDER / f"{event_type}.v{MAJOR_VERSION}.schema.json"


def main() -> None:
    """Write every schema file."""
    FOLDER.mkdir(exist_ok=True)
    for event_type in EventType:
        schema_path(event_type).write_text(schema_text(event_type), encoding="utf-8")


if __name__ == "__main__":
    main()
