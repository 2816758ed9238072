"""What each type of task becomes in a cluster: `build` and `observe`, both pure."""
