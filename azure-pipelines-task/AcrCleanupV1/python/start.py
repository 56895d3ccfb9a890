"""
Start the package in this folder. The interpreter is isolated (-I), so it imports no other one.
"""

import runpy
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.argv = [str(HERE / "entrypoint.py")]
runpy.run_path(sys.argv[0], run_name="__main__")
