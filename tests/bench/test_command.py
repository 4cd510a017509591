"""The whole bench: what is planned, written, said and refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import covary.bench.settings
from covary.bench import PARTS, SETTINGS, Case, Effort, Finding, Goal, Part, bench, markdown
from covary.bench.command import plan
from covary.bench.finding import line
from covary.bench.settings import choose_cases
from covary.data.cores import cores
from covary.errors import InputError
from tests.bench.conftest import TINY

CPU = torch.device("cpu")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Replace the parts by ones that take no time; return what was measured, part and title of the case."""
    done: list[tuple[str, str]] = []

    def fake(name: str) -> Part:
        def measure(case: Case) -> Finding:
            done.append((name, case.title))
            goal = Goal(sense="at least", bound=0.85) if name == "floor" else None
            return Finding(
                lines=(line(f"{name} ratio", "", [0.9], goal), line(f"{name} time", "ms", [1234.0, 1236.0])),
                seconds={"a": (1.234, 1.236)},
                notes=("nothing said",) if name == "rivals" else (),
            )

        return Part(measure=measure, says=f"About {name}", once=PARTS[name].once)

    parts = {name: fake(name) for name in PARTS}
    for module in ("command", "report"):
        monkeypatch.setattr(f"covary.bench.{module}.PARTS", parts)
    monkeypatch.setattr(covary.bench.settings, "SETTINGS", {"tiny": TINY, **SETTINGS})
    monkeypatch.setattr("gc.collect", lambda: 0)  # slow among a test session's objects
    return done


def test_every_case_has_every_part_and_once_is_once(
    measured: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[int] = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: forgotten.append(len(measured)))
    report = bench(
        out=tmp_path,
        settings=["tiny", "resnet8@32"],
        parts=["floor", "augmentation", "stl"],
        device="cpu",
        batch_size=4,
        precision=["fp32", "bf16", "auto"],
        compile=["off", "on"],
        augmentation_size=24,
        say=lambda line: None,
    )
    assert measured == [
        *(
            (part, f"{name}, batch 4, {precision}, compile {form}")
            for name in ("tiny", "resnet8@32")
            for precision in ("fp32", "bf16")
            for form in ("off", "on")
            for part in ("floor", "stl")
        ),
        ("augmentation", "24 px, batch 4, fp32, compile off"),
    ]
    assert report.entries[-1].case.setting.size == 24
    assert forgotten == [number for number, (_, title) in enumerate(measured, start=1) if title.endswith(" on")]
    text = (tmp_path / "bench.md").read_text()
    assert text == markdown(report)
    assert [title for _, title in measured if f"## {title}: " not in text] == []


def test_json_and_markdown_say_the_same(measured: list[tuple[str, str]], tmp_path: Path) -> None:
    said: list[str] = []
    bench(out=tmp_path / "mine.json", settings=["tiny"], parts=["floor", "rivals"], device="cpu", say=said.append)
    content = json.loads((tmp_path / "mine.json").read_text())
    floor, rivals = content["entries"]
    assert (floor["part"], floor["setting"], floor["batch"], floor["size"]) == ("floor", "tiny", 8, 16)
    assert floor["lines"] == [
        {
            "name": "floor ratio",
            "unit": "",
            "median": 0.9,
            "low": 0.9,
            "high": 0.9,
            "goal": {"sense": "at least", "bound": 0.85, "met": True},
        },
        {"name": "floor time", "unit": "ms", "median": 1235.0, "low": 1234.5, "high": 1235.5, "goal": None},
    ]
    assert floor["seconds"] == {"a": [1.234, 1.236]}
    assert rivals["notes"] == ["nothing said"]
    assert content["facts"]["cores"] == str(cores())
    assert {"torch", "torchvision", "kornia", "lightly", "threads", "commit", "date", "device_name"} <= {
        *content["facts"]
    }
    text = (tmp_path / "mine.md").read_text()
    title = "tiny, batch 8, fp32, compile off"
    assert f"| {title} | floor ratio | 0.9 | 0.9 to 0.9 | at least 0.85 | met |" in text
    assert "| floor time | ms | 1,235 | 1,234 to 1,236 |" in text
    assert "- nothing said\n" in text
    assert said[0] == f"1/2  {title}: floor"
    assert said[1].endswith("s: floor ratio 0.9")


def test_what_was_found_before_an_end_is_kept(
    measured: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(case: Case) -> Finding:
        raise KeyboardInterrupt

    monkeypatch.setitem(covary.bench.command.PARTS, "stl", Part(measure=interrupted, says=""))
    with pytest.raises(KeyboardInterrupt):
        bench(out=tmp_path, settings=["tiny"], parts=["floor", "stl"], device="cpu", say=lambda line: None)
    assert [entry["part"] for entry in json.loads((tmp_path / "bench.json").read_text())["entries"]] == ["floor"]
    assert "floor ratio" in (tmp_path / "bench.md").read_text()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("full"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
        RuntimeError("It is possible that dataloader's workers are out of shared memory."),
    ],
)
def test_full_memory_is_noted_and_the_next_part_begun(
    error: Exception, measured: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(case: Case) -> Finding:
        raise error

    monkeypatch.setitem(covary.bench.command.PARTS, "floor", Part(measure=full, says=""))
    report = bench(out=tmp_path, settings=["tiny"], parts=["floor", "stl"], device="cpu", say=lambda line: None)
    assert report.entries[0].finding == Finding(notes=("The memory is too small for it; lower --batch-size.",))
    assert measured == [("stl", "tiny, batch 8, fp32, compile off")]


def test_another_fault_is_ours(
    measured: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(case: Case) -> Finding:
        raise RuntimeError("broken")

    monkeypatch.setitem(covary.bench.command.PARTS, "floor", Part(measure=broken, says=""))
    with pytest.raises(RuntimeError, match=r"^broken$"):
        bench(out=tmp_path, settings=["tiny"], parts=["floor"], device="cpu", say=lambda line: None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"settings": ["tini"]}, r"setting 'tini' is unknown; expected tiny, .*\. Did you mean 'tiny'\?"),
        ({"settings": []}, r"No setting is named; expected one or more of tiny, .*\."),
        ({"parts": ["flor"]}, r"part 'flor' is unknown; expected floor, .*\. Did you mean 'floor'\?"),
        ({"precision": ["bf61"]}, r"precision 'bf61' is unknown; expected auto, fp32, bf16\. Did you mean 'bf16'\?"),
        ({"compile": ["yes"]}, r"compile 'yes' is unknown; expected off, on\."),
        ({"device": "gpu"}, r"Unknown device 'gpu'; .*"),
        ({"batch_size": 7}, r"batch_size is 7; expected a multiple of 2 .*"),
        ({"batch_size": 6, "effort": Effort(processes=4)}, r"batch_size 6 does not split over 4 processes; .*"),
        ({"augmentation_size": 0}, r"augmentation_size is 0; expected 1 or more\."),
    ],
)
def test_mistakes_are_told_before_any_work(
    options: dict[str, Any], message: str, measured: list[tuple[str, str]], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        bench(**{"out": tmp_path / "out", "settings": ["tiny"], "device": "cpu", **options})
    assert (measured, [*tmp_path.iterdir()]) == ([], [])


def test_a_place_that_cannot_be_written_is_refused(measured: list[tuple[str, str]], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        bench(out=tmp_path / "file" / "bench.json", settings=["tiny"], device="cpu")
    (tmp_path / "bench.md").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        bench(out=tmp_path, settings=["tiny"], device="cpu")
    assert measured == []


def test_a_launcher_is_refused(
    measured: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="starts its own processes"):
        bench(out=tmp_path, settings=["tiny"], device="cpu")
    assert measured == []


@pytest.mark.parametrize(
    "values", [{"repeats": 0}, {"block_seconds": -1}, {"block_seconds": float("nan")}, {"processes": 1}, {"workers": 0}]
)
def test_an_effort_out_of_range_is_refused(values: dict[str, Any]) -> None:
    ((name, value),) = values.items()
    with pytest.raises(InputError, match=rf"^{name} is {value}; expected \d or more\.$"):
        Effort(**values)


@pytest.mark.parametrize(("device", "workers"), [("cpu", torch.get_num_threads()), ("cuda", cores())])
def test_loaders_have_the_cores_that_are_used(device: str, workers: int, case: Case) -> None:
    assert Case(**{**vars(case), "device": torch.device(device), "effort": Effort()}).workers == workers
    assert case.workers == 1


def test_the_defaults_of_a_cpu_are_small_ones() -> None:
    cases = {
        device: choose_cases(
            None,
            device=torch.device(device),
            batch_size=None,
            precisions=["auto"],
            compiles=["off"],
            effort=Effort(),
        )
        for device in ("cpu", "cuda")
    }
    assert [case.title for case in cases["cpu"]] == ["resnet8@32, batch 256, fp32, compile off"]
    assert [(case.name, case.precision) for case in cases["cuda"]] == [(name, "bf16") for name in SETTINGS]
    assert [part for part, _ in plan([*PARTS], cases["cpu"], augmentation_size=96)] == [*PARTS]
