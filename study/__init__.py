"""Studies: every method on the same images with the same budget, over seeds; ``python -m study`` runs and reports them.

Not a part of the library: it uses ``covary`` as anybody would, and writes ``results/`` and ``docs/results.md``.
"""
