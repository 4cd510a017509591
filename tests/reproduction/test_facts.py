"""The words below a table: how each of its numbers was measured."""

from covary.evaluation import Result
from covary.reproduction.facts import protocols_of
from covary.reproduction.measuring import UNTRAINED, Measured


def measured(row: str, seed: int | None, **protocols: str) -> Measured:
    results = {
        (task, "a"): Result(
            task=task, protocol=said, source="", data="a", metrics={}, seconds=1.0, covary="0", commit=None
        )
        for task, said in protocols.items()
    }
    return Measured(row=row, seed=seed, results=results)


def test_a_protocol_that_does_not_hold_for_all_rows_names_those_for_which_it_does() -> None:
    some = [
        measured(UNTRAINED, None, equivariance="a ridge map", linear="the same"),
        measured("stl", 0, equivariance="its own map", linear="the same"),
        measured("stl", 1, equivariance="its own map", linear="the same"),
        measured("sen", 0, equivariance="its own map", linear="the same"),
    ]
    assert protocols_of(some) == (
        "untrained: equivariance, a: a ridge map",
        "stl, sen: equivariance, a: its own map",
        "linear, a: the same",
    )
