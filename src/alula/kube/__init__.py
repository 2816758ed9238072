"""A Kubernetes cluster as a program sees it: objects, a client, mirrors of what is there, leadership.

Knows nothing of Flyte: it could be a package of its own.
"""
