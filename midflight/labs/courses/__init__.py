"""The labs, one folder each: `lab.toml`, texts, `starter`, `solution`, `grading.py` and `mutants.toml`."""
