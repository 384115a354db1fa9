"""`vramkit` and `python -m vramkit`: the program."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Runs the program on this process's arguments, and returns its exit status."""
    # The program ends as programs do, not by an exception that nobody is there to see.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from ._vramkit import main as program

    return program(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
