"""What is trained for a table, where, and how it differs from the paper's."""

from dataclasses import replace
from pathlib import Path

import pytest

from covary.errors import InputError
from covary.recipes import ROWS, start_run
from covary.reproduction.plan import (
    Planned,
    choose_rows,
    choose_scale,
    choose_seeds,
    choose_table,
    deviations,
    first_of_equals,
    plan,
)
from covary.reproduction.scales import SCALES
from covary.reproduction.tables import TABLES


def planned(table: str, scale: str, *, data: str | None = None, epochs: int | None = None) -> list[Planned]:
    chosen, at = TABLES[table], SCALES[scale]
    seeds = choose_seeds(None, scale=at, table=chosen)
    return plan(chosen, at, rows=chosen.rows, seeds=seeds, data=data, epochs=epochs, out=Path("out"))


@pytest.mark.parametrize("table", TABLES)
def test_the_paper_s_scale_differs_from_the_paper_in_nothing(table: str) -> None:
    runs = planned(table, "paper")
    assert deviations(runs) == []
    assert {each.run.data for each in runs} == {TABLES[table].setting}
    assert [each.row for each in runs if each.seed == 0] == list(TABLES[table].rows)


def test_seeds_are_the_paper_s_and_one_at_the_demo_scale() -> None:
    assert [len(planned("table11", scale)) for scale in SCALES] == [9, 27, 27]
    assert {each.run.seed for each in planned("table11", "paper")} == {0, 1, 2}
    assert len(planned("table5", "paper")) == 4
    assert choose_seeds(5, scale=SCALES["demo"], table=TABLES["table5"]) == 5
    with pytest.raises(InputError, match=r"^seeds is 0; expected 1 or more\.$"):
        choose_seeds(0, scale=SCALES["demo"], table=TABLES["table5"])


@pytest.mark.parametrize("setting", ["demo", "small", "stl10", "imagenet100"])
def test_rows_share_a_folder_when_and_only_when_their_runs_are_equal(setting: str) -> None:
    runs = {row: start_run(recipe=f"{setting}/{row}") for row in ROWS}
    for row, run in runs.items():
        for other, its in runs.items():
            assert (first_of_equals(row) == first_of_equals(other)) == (run == its), (row, other)


def test_tables_find_each_other_s_runs_and_settings_never_meet() -> None:
    folders = {table: {each.folder for each in planned(table, "paper")} for table in TABLES}
    assert folders["table2"] == folders["table3"] > folders["table4"]
    assert not folders["table2"] & folders["table11"]
    assert Path("out/runs/stl10/stl/seed-0") in folders["table8"] & folders["table11"] & folders["table7"]


def test_deviations_name_the_values_and_the_rows_that_do_not_share_them() -> None:
    runs = planned("table3", "demo", epochs=3)
    lines = deviations(runs)
    assert "epochs: 500 -> 3" in lines
    assert "data: imagenet100 -> shapes" in lines
    assert "encoder: resnet50 -> resnet8" in lines
    assert not any(line.startswith("seed") for line in lines)
    odd = [replace(each, run=replace(each.run, batch_size=64)) if each.row in ("sen", "stl") else each for each in runs]
    assert "sen, stl: batch_size: 256 -> 64" in deviations(odd)


def test_unknown_names_are_refused_with_the_right_ones() -> None:
    with pytest.raises(
        InputError, match=r"^table 'tabel5' is unknown; expected one of table1, .*Did you mean 'table5'"
    ):
        choose_table("tabel5")
    with pytest.raises(
        InputError, match=r"^scale 'papr' is unknown; expected one of demo, small, paper\. Did you mean"
    ):
        choose_scale("papr")
    with pytest.raises(InputError, match=r"^row 'slt' is unknown; expected one of simclr, stl\. Did you mean 'stl'\?$"):
        choose_rows(["slt"], ("simclr", "stl"))
    with pytest.raises(InputError, match=r"^No row is named; expected some of simclr, stl\.$"):
        choose_rows([], ("simclr", "stl"))
    assert choose_rows(["stl", "sen", "stl"], ("sen", "sie", "stl")) == ("sen", "stl")
