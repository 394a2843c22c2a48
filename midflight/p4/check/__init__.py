"""Type checker: resolves names, infers types, folds constants and creates instances; returns an `ir.Program`."""
