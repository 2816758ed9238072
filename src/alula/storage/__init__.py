"""SQL, written as SQL. One module per noun; `database` runs the operations, `changes` tells of them."""
