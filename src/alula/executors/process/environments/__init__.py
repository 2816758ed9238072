"""Environments: images without containers. Virtual environments that `uv` builds from an image's layers, each once.

``store`` keeps them on disk, ``finder`` finds that of an image and has it built if it is missing, ``builder`` is the
program that builds (and the one behind the task `build-image`), ``layers`` what it does for each layer.
"""
