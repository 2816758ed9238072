"""The all-in-one server for one user: settings, no wiring."""
