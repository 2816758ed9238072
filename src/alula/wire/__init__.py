"""Between the protocol's messages and the values of `core`, both ways. No decisions, no I/O."""
