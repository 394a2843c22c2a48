"""The conformance subjects: for each primitive a module with its name and a `SUBJECT`, by which all tests know it."""
