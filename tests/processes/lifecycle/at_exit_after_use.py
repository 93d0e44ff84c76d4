"""The sync calls of `at_exit.py` at the interpreter's exit, after others."""

from at_exit import call  # type: ignore[import-not-found]  # the script beside this one

call()
