"""What covary promises of reliability and security, put to the test: faults injected and counted, mutants caught.

``python -m reliability`` runs the rows of one tier and writes ``reports/reliability.json`` and the table of the README;
``python -m reliability --help`` lists the options. A file of ``rows`` is one promise.
"""
