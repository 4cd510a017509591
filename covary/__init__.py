"""covary: image encoders whose features co-vary with what was done to the image."""

__version__ = "0.1.0"
