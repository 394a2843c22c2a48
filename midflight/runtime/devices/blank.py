"""A BMv2 program that drops every packet, for a switch that waits for a controller to load another.

A simple_switch that starts without a program starts its packet threads at an unknown time after it gets the first one.
With this program it is ready immediately.
"""

from __future__ import annotations

import json

__all__ = ["blank_program"]


def blank_program() -> str:
    """Return a program that drops every packet, as text in BMv2's JSON format."""
    widths = {"ingress_port": 9, "egress_spec": 9, "egress_port": 9, "instance_type": 32, "packet_length": 32}
    widths["_padding"] = -sum(widths.values()) % 8  # BMv2 crashes with headers that do not fill whole bytes
    metadata = "standard_metadata"
    start = {
        "name": "start",
        "id": 0,
        "parser_ops": [],
        "transition_key": [],
        "transitions": [{"type": "default", "value": None, "mask": None, "next_state": None}],
    }
    drop = {
        "name": "drop",
        "id": 0,
        "runtime_data": [],
        "primitives": [{"op": "mark_to_drop", "parameters": [{"type": "header", "value": metadata}]}],
    }
    everything = {
        "name": "everything",
        "id": 0,
        "match_type": "exact",
        "type": "simple",
        "key": [],
        "max_size": 1,
        "action_ids": [0],
        "actions": ["drop"],
        "next_tables": {"drop": None},
        "default_entry": {"action_id": 0, "action_const": True, "action_data": [], "action_entry_const": True},
    }
    rest: dict[str, list[str]] = {"conditionals": [], "action_profiles": []}
    return json.dumps(
        {
            "program": "blank",
            "__meta__": {"version": [2, 18]},
            "header_types": [{"name": metadata, "id": 0, "fields": [[*each, False] for each in widths.items()]}],
            "headers": [{"name": metadata, "id": 0, "header_type": metadata, "metadata": True}],
            "parsers": [{"name": "parser", "id": 0, "init_state": "start", "parse_states": [start]}],
            "deparsers": [{"name": "deparser", "id": 0, "order": []}],
            "actions": [drop],
            "pipelines": [
                {"name": "ingress", "id": 0, "init_table": "everything", "tables": [everything], **rest},
                {"name": "egress", "id": 1, "init_table": None, "tables": [], **rest},
            ],
        }
    )
