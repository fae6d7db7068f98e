"""Check a whole params file: ``python -m maskline.params.check FILE``; exit code 2 and one line where it is wrong.

A stage has this done by a process of its own, since it loads no sections but those that it reads.
"""

import sys
from pathlib import Path

from maskline.core.errors import ParamsError
from maskline.params.whole import load_params


def main(path: Path) -> int:
    """Return the exit code; the error goes to stderr."""
    try:
        load_params(path)
    except ParamsError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
