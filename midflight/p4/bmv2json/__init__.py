"""BMv2's JSON, which p4c writes for simple_switch, as P4_16 source for v1model."""
