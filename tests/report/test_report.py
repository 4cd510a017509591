"""The page of runs: its numbers are those of the files, its differences marked, its gaps told."""

import json
from pathlib import Path

import pytest
from PIL import Image

from covary.cli import main
from covary.errors import InputError
from covary.report import report
from tests.report.folders import KNN, METRICS, result, run_folder
from tests.report.pages import Page


def made(*runs: Path) -> Page:
    return Page(report(runs, runs[0].parent / "report.html"))


def test_numbers_are_those_of_the_files(tmp_path: Path) -> None:
    page = made(run_folder(tmp_path / "a"))
    assert page.rows("top1")[0] == [("0.8380", repr(KNN["top1"])), ("0.1000", "0.1")]
    assert page.rows("k")[0] == [("20", "20"), ("–", None)]
    assert page.rows("steps")[0][0][0] == "16 of 16"
    assert page.rows("images a second, median")[0][0][0] == "150"
    assert page.rows("augment.size")[0][0][0] == "32"
    assert page.rows("threads")[0][0][0] == "1"
    assert {"4.1235", "0.8125"} <= set(page.text.split())
    assert "the last spread is 0.5000; under 0.2 is a collapse, so the features have not collapsed." in page.text
    charts = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [str(each["alt"]).split(" over ")[0] for each in charts] == [
        *("Loss", "Online kNN accuracy", "Spread of the features")
    ]


def test_a_collapse_is_a_warning(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a")
    (folder / "metrics.jsonl").write_text(json.dumps({**METRICS[0], "spread": 0.01}) + "\n")
    page = made(folder)
    assert "so the features have collapsed" in page.text
    assert [attributes["class"] for tag, attributes in page.tags if tag == "p" and attributes] == ["warning"]


def test_runs_stand_side_by_side_and_differences_are_marked(tmp_path: Path) -> None:
    a = run_folder(tmp_path / "x" / "seed-0")
    b = run_folder(tmp_path / "y" / "seed-0", results=[result(metrics={"top1": 0.5})], seed=1, batch_size=16)
    page = made(a, b)
    assert page.tables[0][0] == [("", None), ("x/seed-0", None), ("y/seed-0", None)]
    assert [cell for cell, _ in page.rows("seed")[0]] == ["0", "1"]
    assert {"seed", "batch_size"} <= set(page.marked)
    assert not {"epochs", "encoder", "top1"} & set(page.marked)
    assert [cell for cell, _ in page.rows("top1")[0]] == ["0.8380", "0.5000", "0.1000"]
    assert [cell for cell, _ in page.tables[1][0]] == ["", "x/seed-0", "y/seed-0"]
    assert [row[0][0] for row in page.tables[1][1:]] == ["batch_size", "seed"]


def test_untrained_weights_are_a_column_of_their_own(tmp_path: Path) -> None:
    untrained = result(source="untrained:runs/a", metrics={"top1": 0.3})
    page = made(run_folder(tmp_path / "a", results=[[untrained], result()]))  # pyright: ignore[reportArgumentType]
    assert [cell for cell, _ in page.rows("top1")[0]] == ["0.8380", "0.3000", "0.1000"]
    assert "a, untrained" in page.text


def test_baselines_of_probes_are_those_of_what_they_predict(tmp_path: Path) -> None:
    metrics = {"mse.all": 1.0, "mlp.mse.all": 0.5, "baseline.mse.all": 2.0, "crop.mrr": 0.4, "crop.chance.mrr": 0.2}
    page = made(run_folder(tmp_path / "a", results=[result("own-task", metrics=metrics)]))
    assert {name: page.rows(name)[0][-1][0] for name in ("mse.all", "mlp.mse.all", "crop.mrr")} == {
        "mse.all": "2",
        "mlp.mse.all": "2",
        "crop.mrr": "0.2000",
    }
    assert not page.rows("baseline.mse.all")
    assert not page.rows("crop.chance.mrr")


def test_a_run_on_its_way_is_shown_and_said_to_be(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a", done=False, results=[])
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 17, "ep')
    page = made(folder)
    assert "a is not finished: 16 of 16 steps are logged." in page.text
    assert "Nothing has been measured yet." in page.text
    (folder / "metrics.jsonl").unlink()
    assert "Nothing has been logged yet." in made(folder).text


def test_the_commands_for_what_is_missing_are_told(tmp_path: Path) -> None:
    unmeasured = made(run_folder(tmp_path / "a b", results=[], data="/home/jane doe/birds"))
    assert "covary evaluate 'a b' --data '…/birds'" in unmeasured.text
    measured = made(run_folder(tmp_path / "c"))
    assert "covary evaluate untrained:c --data shapes --task knn --out c/results/untrained.json" in measured.text
    assert "--dry-run" in measured.text


def test_the_first_batch_is_saved_anew_and_shrunk(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a")
    (folder / "figures").mkdir()
    Image.new("RGB", (2400, 600), "red").save(folder / "figures" / "first-batch.png", exif=b"jane", comment="jane")
    page = made(folder)
    pictures = [attributes for tag, attributes in page.tags if tag == "img" and "png" in str(attributes["src"])[:20]]
    assert [(each["width"], each["height"]) for each in pictures] == [("1200", "300")]
    assert "--dry-run" not in page.text


def test_no_path_of_the_user_is_in_the_page(tmp_path: Path) -> None:
    data = "/home/jane doe/my birds"
    said = f"from {data} and /srv/secret/place; 0.4/0.4/0.4; hf:user/set"
    folder = run_folder(
        tmp_path / "a", results=[result(source=str(tmp_path / "a"), data=data, protocol=said)], data=data
    )
    page = made(folder)
    assert "from …/my birds and …/place; 0.4/0.4/0.4; hf:user/set" in page.text
    assert page.rows("images")[0][0][0] == "…/my birds"
    written = (tmp_path / "report.html").read_text()
    assert [secret for secret in ("jane", "secret", str(tmp_path)) if secret in written] == []


def test_figures_are_written_where_asked(tmp_path: Path) -> None:
    run, folder = run_folder(tmp_path / "$a$"), tmp_path / "figures"
    report(run, tmp_path / "a.html")
    assert not folder.exists()
    report(run, tmp_path / "a.html", folder)
    assert sorted(file.name for file in folder.iterdir()) == [
        *("loss.svg", "online-knn-accuracy.svg", "spread-of-the-features.svg")
    ]
    assert "<svg" in (folder / "loss.svg").read_text()


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "a")
    assert report(run, tmp_path / "1.html").read_bytes() == report(run, tmp_path / "2.html").read_bytes()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("run.json", "{", "run.json cannot be read"),
        ("run.json", "[" * 100_000, "run.json cannot be read"),
        ("metrics.jsonl", "{}\n", "metrics.jsonl is damaged in line 1: expected an object of numbers with a step"),
        ("metrics.jsonl", '{"step": 1, "loss": 1e4}\n{"st\n', "metrics.jsonl is damaged in line 2"),
        ("metrics.jsonl", f'{{"step": 1, "loss": 1{"0" * 400}}}\n', "metrics.jsonl is damaged in line 1"),
        ("results/0.json", '{"task": "knn"}', "it is none of covary evaluate"),
        ("results/0.json", "\xff", "results/0.json is damaged"),
        ("results/0.json", json.dumps(result(metrics={"top1": "0.5"})), "it is none of covary evaluate"),
        ("figures/first-batch.png", "no picture", "first-batch.png cannot be read"),
    ],
)
def test_a_damaged_folder_is_one_line(tmp_path: Path, file: str, content: str, message: str) -> None:
    folder = run_folder(tmp_path / "a")
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=message):
        report(folder, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_what_cannot_be_reported_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = run_folder(tmp_path / "a"), str(tmp_path / "report.html")
    refused = {
        f"{tmp_path / 'b'} holds no run: run.json is missing": [str(tmp_path / "b"), "--out", out],
        "given more than once": [str(folder), str(folder), "--out", out],
        "let --out end in .html": [str(folder), "--out", str(tmp_path / "report.pdf")],
        "No run is given": ["--out", out],
    }
    for message, arguments in refused.items():
        assert main(["report", *arguments]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    assert main(["report", str(folder), "--out", out]) == 0
    assert capsys.readouterr().out == f"{out}\n"


def test_results_of_an_encoder_that_was_not_trained_here(tmp_path: Path) -> None:
    file = tmp_path / "timm.json"
    file.write_text(json.dumps(result(source="timm:resnet18", metrics={"top1": 0.5})))
    alone = made(file)
    assert "timm.json holds results alone, of timm:resnet18." in alone.text
    assert alone.rows("top1")[0] == [("0.5000", "0.5")]
    assert "What is missing" not in alone.text
    beside = Page(report([file, run_folder(tmp_path / "a")], tmp_path / "beside.html"))
    assert [cell for cell, _ in beside.rows("top1")[0]] == ["0.8380", "0.5000", "0.1000"]
    assert [cell for cell, _ in beside.tables[0][0]] == ["", "a"]
    file.write_text("{}")
    with pytest.raises(InputError, match=r"timm\.json is damaged: it is none of covary evaluate"):
        made(file)
