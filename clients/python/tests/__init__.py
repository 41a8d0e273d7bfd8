"""Tests of package gale; run "python3 -m unittest discover -s tests -t ." in the folder above."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "src"))
