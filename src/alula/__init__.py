"""An independent implementation of the Flyte 2 backend."""

__version__ = "0.1.0"
