"""A change in the world: brings attempts in line with rows. Level, not edge: look, compare, take one step."""
