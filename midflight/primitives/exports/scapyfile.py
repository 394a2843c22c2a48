"""A Python file with the scapy layers of a program, for others: it needs only itself and midflight[scapy]."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pprint import pformat
from typing import Any

from midflight.primitives.exports.scapy_layer import class_name

__all__ = ["scapy_file"]

_TEXT = '''\
"""scapy layers of {names}, generated from a wire schema; needs midflight[scapy].

    packet = IP(dst="10.0.0.9") / UDP(sport=5000, dport={port}) / Midflight({first})
"""

from midflight.primitives.exports.scapy_layer import layers

SCHEMA = {schema}

_layers = layers(SCHEMA, bind=True)
Midflight = _layers.common
{classes}
'''


def scapy_file(schema: Mapping[str, Any]) -> str:
    """Return the text of the file, given the dict of `Program.schema()`.

    Nothing is written. Importing the file binds the layers to scapy's UDP.
    """
    plain = json.loads(json.dumps(schema))
    applications = schema["applications"]
    first = [f"application={each['id']}) / {class_name(name)}(" for name, each in applications.items()]
    text = _TEXT.format(
        names=", ".join(applications) or "no applications",
        port=schema["udp_port"],
        first=first[0] if first else "",
        schema=pformat(plain, width=100, sort_dicts=False),
        classes="\n".join(f"{class_name(name)} = _layers.applications[{name!r}]" for name in applications),
    )
    return text.rstrip() + "\n"
