"""The checker: names resolved, types given, constants folded, instances made; from syntax tree to `ir.Program`."""
