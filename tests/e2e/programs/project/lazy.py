"""Imported by a task while it runs."""


def late() -> str:
    return "late"
