"""Generated P4 programs, on which two ways of running a program are compared."""
