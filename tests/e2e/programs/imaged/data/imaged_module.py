"""A module that only the image has."""

NAME = "a module of the image"
