"""The version, in one place: hatchling and ``__init__`` read it here."""

__version__ = "0.1.0"
