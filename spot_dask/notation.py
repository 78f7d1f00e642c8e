"""A configuration in the notations that it may be wanted in."""

from __future__ import annotations

import json
from collections.abc import Mapping

from spot_dask.records import Configuration
from spot_dask.texts import json_document, shell, toml_text


def as_json(config: Configuration) -> str:
    """A JSON object over several lines."""
    return json_document(json.dumps(dict(config), indent=2, ensure_ascii=False))


def as_toml(config: Configuration) -> str:
    """A line of TOML for each parameter."""
    lines = []
    for name, value in config.items():
        if isinstance(value, str):
            shown = toml_text(value)
        else:
            shown = repr(value) if isinstance(value, float) else json.dumps(value)
        lines.append(f"{toml_text(name)} = {shown}")
    return "\n".join(lines)


def as_python(config: Configuration) -> str:
    """An assignment in Python."""
    return f"config = {dict(config)!r}"


def as_args(config: Configuration) -> str:
    """Arguments of a command: ``--batch-size=64``, and ``--flag`` where it is true."""
    words = []
    for name, value in config.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words += [option] if value else []
        else:
            words.append(f"{option}={value}")
    return shell(words)


NOTATIONS: Mapping[str, str] = {
    "json": "JSON",
    "toml": "TOML",
    "python": "Python",
    "args": "arguments",
}
"""Their names, and what they are called."""

_WRITTEN = {"json": as_json, "toml": as_toml, "python": as_python, "args": as_args}


def written(config: Configuration, notation: str) -> str:
    """The configuration in one of the ``NOTATIONS``."""
    return _WRITTEN[notation](config)
