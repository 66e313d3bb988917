"""`python -m slowwave` is the command `slowwave`."""

from __future__ import annotations

import sys

from slowwave.cli import main

if __name__ == "__main__":
    sys.exit(main())
