"""The paper's numbers: complete, and as consistent as the paper itself."""

import pytest

from covary.recipes import ROWS
from covary.reproduction import PAPER, TABLES
from covary.reproduction.paper import SETS
from covary.reproduction.scales import SCALES
from covary.reproduction.tables import Images, columns_of

WITH_SETS = [(table, row) for table, rows in PAPER.items() for row, numbers in rows.items() if "sun397" in numbers]


@pytest.mark.parametrize(("table", "row"), WITH_SETS)
def test_means_over_the_eleven_sets_are_those_printed(table: str, row: str) -> None:
    numbers = PAPER[table][row]
    assert numbers["mean"].value == pytest.approx(sum(numbers[name].value for name in SETS) / 11, abs=0.015)


def test_every_table_has_the_rows_and_as_many_numbers_as_the_paper() -> None:
    counts = {table: (len(rows), sum(map(len, rows.values()))) for table, rows in PAPER.items()}
    assert counts == {
        "table1": (4, 8),
        "table2": (9, 108),
        "table3": (9, 9),
        "table4": (5, 15),
        "table5": (4, 16),
        "table6": (5, 60),
        "table7": (6, 24),
        "table8": (12, 144),
        "table9": (12, 144),
        "table11": (9, 117),
    }
    assert {row for rows in PAPER.values() for row in rows} <= set(ROWS)


@pytest.mark.parametrize("table", TABLES)
def test_at_the_paper_s_scale_a_table_has_every_number_of_the_paper_s(table: str) -> None:
    scale = SCALES["paper"]
    images = Images(in_domain="stl10", out_domain=scale.out_domain, detection=scale.detection)
    assert TABLES[table].rows == tuple(PAPER[table])
    columns = {column.paper for column in columns_of(TABLES[table], images)} - {None}
    assert columns == {name for numbers in PAPER[table].values() for name in numbers}


def test_numbers_of_table_11_agree_with_single_runs_elsewhere_as_far_as_the_paper_s_do() -> None:
    """A slip of a line would not: rows of table 8 are one seed of the same runs."""
    for single, row in (
        ("augself-crop+color", "augself"),
        ("stl-crop+color", "stl"),
        ("equimod-crop+color", "equimod"),
    ):
        for name in SETS:
            seeds = PAPER["table11"][row][name]
            assert seeds.std is not None
            assert abs(PAPER["table8"][single][name].value - seeds.value) < 5 * max(seeds.std, 0.5), (row, name)


def test_every_number_of_table_11_has_a_standard_deviation_and_no_other() -> None:
    for table, rows in PAPER.items():
        for numbers in rows.values():
            assert {printed.std is None for printed in numbers.values()} == {table != "table11"}
