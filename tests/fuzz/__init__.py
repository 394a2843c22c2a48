"""Fuzzing: every input leads to a result or to a MidflightError.

`targets` has a function that takes bytes for each entry point, `mutation` derives new inputs from old ones, and
`campaign` runs a target on a number of inputs. `python -m tests.fuzz` runs campaigns for hours, and `test_fuzz.py` a
small part of each.
"""
