"""What a run's features do, as a folder that a browser opens: analogies, orbits, maps, two runs compared."""

from covary.explore.command import explore

__all__ = ["explore"]
