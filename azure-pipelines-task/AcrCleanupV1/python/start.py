"""Start the package that lies beside this file, and no other one: the interpreter is isolated (-I)."""

import runpy
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.argv = [str(HERE / "entrypoint.py")]
runpy.run_path(sys.argv[0], run_name="__main__")
