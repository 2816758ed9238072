"""Imported by the workflow, two packages deep."""


def shout(text: str) -> str:
    return f"{text}!"
