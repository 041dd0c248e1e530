"""The version of the package, for files and reports that say what made them."""

__version__ = "0.1.0"
