"""The verbs, one class per noun. Three doors lead here: a request, a clock tick, a change in the world."""
