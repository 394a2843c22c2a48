"""Networks from the files of other tools: p4-utils, p4lang's tutorials, and Mininet."""
