"""The tables of docs/configuration.md: written from the fields, and compared with them.

Rule: the fields are the truth; `python -m tests.docs.test_configuration_page` writes the tables anew.
"""

import re
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from pydantic.fields import FieldInfo
from tests.docs.generated_tables import assert_each_row_counts

from microbatch.common.settings import ClientSettings, QueueOverrides, RedisSettings, WorkerSettings
from microbatch.common.settings.sources import variable_of

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
CLASSES: tuple[type[RedisSettings], ...] = (RedisSettings, ClientSettings, WorkerSettings)
NO_VALUES = {"queue", "origins"}
SUFFIXES = {"_bytes": "bytes", "_ms": "milliseconds", "_s": "seconds"}
NO_BOUNDS = "see meaning"
UNITS = {
    "redis_url": "",
    "max_queue_length": "jobs",
    "max_batch_keys": "lanes",
    "max_job_cost": "",
    "max_batch_cost": "",
    "concurrency": "batches",
    "max_batch_size": "jobs",
    "batching": "",
    "max_crashes": "workers",
    "dead_max_length": "jobs",
    "job_log_limit_lines": "lines",
    "signing_keys": "",
    "encryption_keys": "",
    "accept_unsealed": "",
    "max_payload_depth": "levels",
    "max_payload_items": "items",
    "max_attempts": "runs",
    "on_batch_error": "",
    "executor": "",
    "max_batches_per_child": "batches",
    "max_batches": "batches",
    "monitoring_address": "",
    "tracing": "",
    "log_format": "",
    "labels": "",
    "replicas": "replicas",
}


def settings_table() -> str:
    """Every setting once for each class that declares it."""
    lines = [
        "| Setting | Variable | Default | Unit | Allowed | Used by | Meaning |",
        "|---|---|---|---|---|---|---|",
    ]
    for cls in CLASSES:
        used_by = "both" if cls is RedisSettings else f"`{cls.__name__}`"
        lines += [
            f"| `{name}` | `{variable_of((name,))}` | {default(field)} | {unit(name)} | {allowed(field)} "
            f"| {used_by} | {field.description} |"
            for name, field in cls.model_fields.items()
            if name not in NO_VALUES and (cls is RedisSettings or name not in RedisSettings.model_fields)
        ]
    return "\n".join(lines)


def queue_table() -> str:
    """Every setting that one queue may have for itself."""
    lines = ["| Variable | Read by |", "|---|---|"]
    for name in QueueOverrides.model_fields:
        readers = [cls.__name__ for cls in CLASSES if name in cls.model_fields]
        lines.append(
            f"| `MICROBATCH_QUEUE__<queue>__{name.upper()}` | {', '.join(f'`{r}`' for r in readers)} |"
        )
    return "\n".join(lines)


def unit(name: str) -> str:
    by_suffix = (unit for suffix, unit in SUFFIXES.items() if name.endswith(suffix))
    return UNITS[name] if name in UNITS else next(by_suffix)


def default(field: FieldInfo) -> str:
    if field.default in (None, ()):
        return "unset"
    return f"`{field.default:.12g}`" if isinstance(field.default, float) else f"`{field.default}`"


def allowed(field: FieldInfo) -> str:
    parts = [*field.metadata, *parts_of(field.annotation)]
    choices = [choice for part in parts if get_origin(part) is Literal for choice in get_args(part)]
    ends = [getattr(part, end) for end in ("ge", "le") for part in parts if hasattr(part, end)]
    return (
        ", ".join(f"`{choice}`" for choice in choices) or " to ".join(f"{end:,}" for end in ends) or NO_BOUNDS
    )


def parts_of(annotation: object) -> list[object]:
    """The types and rules inside an annotation: a constraint on an optional value sits inside the union."""
    inner = (*get_args(annotation), *getattr(annotation, "metadata", ()))
    return [annotation, *(part for each in inner for part in parts_of(each))]


def page_with_tables(page: str) -> str:
    for label, table in (("settings", settings_table()), ("queue settings", queue_table())):
        found = re.search(rf"(?<=<!-- {label}: )(.*?-->\n).*?(?=<!-- end of {label} -->)", page, re.DOTALL)
        assert found, f"docs/configuration.md lost its markers for {label}"
        page = f"{page[: found.end(1)]}\n{table}\n\n{page[found.end() :]}"
    return page


def test_the_tables_on_the_page_say_what_the_fields_say() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert page == page_with_tables(page), "run: python -m tests.docs.test_configuration_page"


@pytest.mark.parametrize("cls", CLASSES)
def test_every_field_has_a_description_and_a_unit(cls: type[RedisSettings]) -> None:
    for name, field in cls.model_fields.items():
        assert field.description
        if name not in NO_VALUES:
            unit(name)


@pytest.mark.parametrize("name", QueueOverrides.model_fields)
def test_the_bounds_of_an_override_are_those_of_the_setting(name: str) -> None:
    owner = next(cls for cls in reversed(CLASSES) if name in cls.model_fields)

    assert allowed(QueueOverrides.model_fields[name]) == allowed(owner.model_fields[name])


def test_a_row_that_is_missing_or_made_up_is_noticed() -> None:
    assert_each_row_counts(PAGE.read_text(encoding="utf-8"), page_with_tables)


if __name__ == "__main__":
    PAGE.write_text(page_with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
