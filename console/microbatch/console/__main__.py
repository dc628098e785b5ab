"""`python -m microbatch.console`: the command `microbatch`, where its script is not on the path."""

import sys

from microbatch.console.main import main

if __name__ == "__main__":
    sys.exit(main())
