"""The version of the distribution; does nothing else, so that builds and `--version` read it cheaply."""

__version__ = "0.1.0.dev0"
