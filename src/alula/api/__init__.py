"""A request: one file per wire service; decode, one verb, encode."""
