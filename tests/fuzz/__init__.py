"""Fuzzing: whatever the input is, the answer is a result or a MidflightError.

`targets` has a function from bytes to nothing for each way in, `mutation` makes new inputs of old ones, and `campaign`
runs a target for a number of inputs. `python -m tests.fuzz` runs campaigns for hours; `test_fuzz.py` a slice of each.
"""
