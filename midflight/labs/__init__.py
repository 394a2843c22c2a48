"""Course labs that grade themselves: texts, starters, solutions, hidden traces, and reports for course platforms.

`courses` has a folder for each lab. A submission never runs in the grader's process: see `process`, `switch` and
`student`.
"""
