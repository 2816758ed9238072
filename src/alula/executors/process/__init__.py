"""Attempts as local processes: a fork server with the task runtime loaded, and a recorder for their logs and ends.

`executor.py` is the server's side. `launcher.py` and `recorder.py` are small programs of their own; what they import
(`channel child loglines preload records runtime tree`) needs the standard library alone.
"""
