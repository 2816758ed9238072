"""Attempts as local processes: a launcher that holds them, warm parents that fork them, a recorder for logs and ends.

`executor.py` is the server's side. `launcher.py`, `parent.py` and `recorder.py` are small programs of their own; what
they import needs the standard library alone. A parent runs in an image's environment, from Python 3.10 on: of what it
imports (`channel child ledger lazily preload rehearse runtime tree warm worker`) nothing may need a newer one.
"""
