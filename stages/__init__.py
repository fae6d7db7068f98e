"""The six stages. This checkout's own lib/ comes first on the path, before an editable install's.

``dvc exp run --temp`` and queue workers run in a copy of the project; an editable install would give them the
code of the main checkout. This is the only path edit in the project.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))
