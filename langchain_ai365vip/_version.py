"""What a release changes: the version, and where the package is installed from."""

__version__ = "0.1.0"  # hatchling reads it here

# Once it is on PyPI: "langchain-ai365vip", and nothing more to say of it.
_SOURCE, _WHERE = ".", " in a checkout of langchain-ai365vip"


def installing(extra: str) -> str:
    """Return what installs the package with an extra."""
    return f'pip install "{_SOURCE}[{extra}]"{_WHERE}'
