"""P4_16 front end: preprocessor, parser, type checker and P4Info generator for v1model programs."""
