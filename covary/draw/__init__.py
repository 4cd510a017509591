"""Arrays to figures; no torch, no files."""
