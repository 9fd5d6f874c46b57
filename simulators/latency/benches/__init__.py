"""What is measured, one bench a module: each takes a `Run` and yields what came out of it."""
