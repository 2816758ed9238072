"""A module beside the task's."""

NAME = "a module of the image"
