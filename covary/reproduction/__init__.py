"""The paper's tables, made again: runs trained, measured, and set beside the printed numbers."""
