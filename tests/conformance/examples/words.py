"""A part of others: nothing to run."""

GREETING = "hello"
