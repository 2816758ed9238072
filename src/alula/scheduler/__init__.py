"""Door 2, a clock tick: what triggers owe is made when it is due."""
