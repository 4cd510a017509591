"""One file for each promise; its ``ROW`` says how the promise is tested."""
