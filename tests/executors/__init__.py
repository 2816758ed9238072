"""The process executor."""
