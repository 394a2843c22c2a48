"""The main program of the process that runs the switch of a group of ranks."""

from __future__ import annotations

import sys

from midflight.collectives.supervisor import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
