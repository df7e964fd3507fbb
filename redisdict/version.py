"""Give the version of the package, to all of its parts."""

__version__ = "0.1.0"
