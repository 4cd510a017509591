"""The run folder: transactions, damaged checkpoints, locks."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import covary.checkpoint
from covary import rundir
from covary.errors import InputError, TrainingError
from covary.rundir import RunDir, write_atomic


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"a": torch.full((3, 2), value), "steps": torch.tensor(int(value))}


def test_newest_checkpoint_comes_back_exactly(tmp_path: Path) -> None:
    folder = RunDir(tmp_path)
    for step in (5, 10, 15):
        folder.save_checkpoint(step, tensors(step), {"epoch": step // 5})
    checkpoint, damaged = folder.newest_checkpoint()
    assert checkpoint is not None
    assert (checkpoint.step, checkpoint.meta, damaged) == (15, {"epoch": 3}, [])
    assert all(torch.equal(checkpoint.tensors[name], value) for name, value in tensors(15).items())
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["step-10", "step-15"]


def test_every_byte_of_the_manifest_and_many_of_the_state_are_guarded(tmp_path: Path) -> None:
    folder = RunDir(tmp_path)
    folder.save_checkpoint(1, tensors(1), {})
    folder.save_checkpoint(2, tensors(2), {"epoch": 7})
    for name in ("manifest.json", "state.safetensors"):
        file = tmp_path / "checkpoints" / "step-2" / name
        content = file.read_bytes()
        for place in range(len(content)):
            mutant = bytearray(content)
            mutant[place] ^= 1
            file.write_bytes(mutant)
            checkpoint, damaged = folder.newest_checkpoint()
            assert checkpoint is not None
            if checkpoint.step == 2:  # white space of the JSON alone may change unseen
                assert content[place : place + 1].isspace()
                assert checkpoint.meta == {"epoch": 7}
            else:
                assert (checkpoint.step, len(damaged)) == (1, 1)
        file.write_bytes(content)


@pytest.mark.parametrize("damage", ["truncate", "remove", "empty"])
def test_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path, damage: str) -> None:
    folder = RunDir(tmp_path)
    folder.save_checkpoint(1, tensors(1), {})
    folder.save_checkpoint(2, tensors(2), {})
    state = tmp_path / "checkpoints" / "step-2" / "state.safetensors"
    if damage == "remove":
        state.unlink()
    else:
        state.write_bytes(state.read_bytes()[: 0 if damage == "empty" else -1])
    checkpoint, damaged = folder.newest_checkpoint()
    assert checkpoint is not None
    assert checkpoint.step == 1
    assert "step-2 is damaged" in damaged[0]
    folder.save_checkpoint(2, tensors(20), {})  # recomputed: takes the damaged one's place
    checkpoint, damaged = folder.newest_checkpoint()
    assert checkpoint is not None
    assert checkpoint.tensors["steps"] == 20
    assert damaged == []


def test_failed_save_keeps_the_previous_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunDir(tmp_path)
    folder.save_checkpoint(1, tensors(1), {})

    def full(path: Path, content: bytes) -> None:
        path.write_bytes(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rundir, "_write_synced", full)
    with pytest.raises(TrainingError) as caught:
        folder.save_checkpoint(2, tensors(2), {})
    words = rf"The checkpoint of step 2 cannot be written to {tmp_path} \(No space left on device\): "
    assert re.fullmatch(words + r"0\.0 MB needed, [\d.,]+ MB free\. Make room, then run the same .*", str(caught.value))
    checkpoint, damaged = folder.newest_checkpoint()
    assert checkpoint is not None
    assert (checkpoint.step, damaged) == (1, [])
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-1"]


def test_a_checkpoint_outlives_damaged_ones_of_later_steps(tmp_path: Path) -> None:
    folder = RunDir(tmp_path)
    for step in (90, 100):
        folder.save_checkpoint(step, tensors(step), {})
        (tmp_path / "checkpoints" / f"step-{step}" / "state.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"No checkpoint of .* is whole: .*step-100 is damaged .*Restore one"):
        folder.newest_checkpoint()
    folder.save_checkpoint(10, tensors(10), {})  # the run began anew
    checkpoint, damaged = folder.newest_checkpoint()
    assert checkpoint is not None
    assert (checkpoint.step, damaged) == (10, [])


def test_a_checkpoint_that_cannot_be_removed_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunDir(tmp_path)
    for step in (1, 2):
        assert folder.save_checkpoint(step, tensors(step), {}) == []

    def fail(path: Path, **options: object) -> None:
        if path.name == "step-1":
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(rundir.shutil, "rmtree", fail)
    (line,) = folder.save_checkpoint(3, tensors(3), {})
    assert line.endswith("step-1 is of no use any more and cannot be removed (Input/output error)")
    checkpoint, _ = folder.newest_checkpoint()
    assert checkpoint is not None
    assert checkpoint.step == 3


def test_a_disk_too_small_for_the_checkpoints_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunDir(tmp_path)
    monkeypatch.setattr(rundir, "free_bytes", lambda path: 5_000_000)
    folder.check_room(1_600_000)
    with pytest.raises(InputError) as caught:
        folder.check_room(2_000_000)
    assert str(caught.value) == (
        f"The disk of {tmp_path} is too small: 3 checkpoints of 2.0 MB need 6.0 MB, 5.0 MB are free for them; "
        "make room, or give another --out."
    )
    (tmp_path / "checkpoints" / "step-1").mkdir(parents=True)
    (tmp_path / "checkpoints" / "step-1" / "state.safetensors").write_bytes(bytes(1_000_000))
    folder.check_room(2_000_000)  # what is there already needs no room


@pytest.mark.parametrize("content", ["1", "null", "true", '"a"', "[]", "{}"])
def test_a_manifest_of_other_json_is_damage(tmp_path: Path, content: str) -> None:
    folder = RunDir(tmp_path)
    folder.save_checkpoint(1, tensors(1), {})
    folder.save_checkpoint(2, tensors(2), {})
    (tmp_path / "checkpoints" / "step-2" / "manifest.json").write_text(content)
    checkpoint, damaged = folder.newest_checkpoint()
    assert checkpoint is not None
    assert (checkpoint.step, len(damaged)) == (1, 1)


def test_a_file_or_link_in_place_of_a_checkpoint_gives_way(tmp_path: Path) -> None:
    folder = RunDir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step-1").write_text("")
    (tmp_path / "checkpoints" / "step-9").symlink_to("nowhere")
    folder.check_room(1)
    assert folder.save_checkpoint(1, tensors(1), {}) == []
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-1"]


def test_what_a_kill_left_half_written_is_cleared(tmp_path: Path) -> None:
    for place in ("checkpoints/.staging-3", "failure/checkpoints/.staging-2"):
        (tmp_path / place / "in").mkdir(parents=True)
    (tmp_path / ".run.json.tmp-1").write_text("")
    RunDir(tmp_path).clear_staging()
    assert not list(tmp_path.rglob(".*"))


def test_a_full_disk_is_told_of_where_the_list_of_skipped_images_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(TrainingError, match=r"^skipped.jsonl cannot be written to .* \(No space left on device\)"):
        RunDir(tmp_path).write_skipped([("a.png", "empty")])


def test_a_disk_without_locks_is_not_taken_for_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*arguments: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(InputError, match=r"cannot lock files \(Function not implemented\)"), RunDir(tmp_path).lock():
        pass


def test_a_lock_that_cannot_be_opened_is_told_of(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(InputError, match=r"cannot be locked \(Is a directory\)"), RunDir(tmp_path).lock():
        pass


def test_a_block_that_fails_takes_back_the_folders_it_made(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(KeyError), RunDir(tmp_path / "mine" / "a" / "b").made():
        raise KeyError
    assert list((tmp_path / "mine").iterdir()) == []
    (tmp_path / "mine" / "a").mkdir()
    with pytest.raises(KeyError), RunDir(tmp_path / "mine" / "a" / "b").made():
        raise KeyError
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["a"]


def test_write_atomic_leaves_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.json"
    write_atomic(file, "old")

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        write_atomic(file, "new")
    assert file.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_second_process_is_refused_and_a_dead_owner_is_not(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from covary.rundir import RunDir\n"
        "with RunDir(Path(sys.argv[1])).lock(): print('held', flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    try:
        assert owner.stdout.readline() == "held\n"
        with (
            pytest.raises(InputError, match=rf"Another run is writing to .* \(process {owner.pid} on "),
            RunDir(tmp_path).lock(),
        ):
            pass
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()
    folder = RunDir(tmp_path)
    with folder.lock():
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} ")
    assert not (tmp_path / ".lock").exists()  # no run began
    with folder.lock():
        folder.write_run({}, {})
    assert (tmp_path / ".lock").exists()


def test_metrics_are_cut_at_the_checkpoint_and_at_a_torn_line(tmp_path: Path) -> None:
    folder = RunDir(tmp_path)
    lines = [json.dumps({"step": step, "loss": 1.0}) for step in (10, 20, 30)]
    folder.metrics_file.write_text("\n".join([*lines[:2], lines[2][:7]]))
    folder.truncate_metrics(10)
    assert folder.metrics_file.read_text() == lines[0] + "\n"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 99}'])
def test_unreadable_run_file_is_one_clear_line(tmp_path: Path, content: str) -> None:
    folder = RunDir(tmp_path)
    assert folder.read_run() is None
    folder.run_file.write_text(content)
    with pytest.raises(InputError, match=r"run\.json"):
        folder.read_run()


def test_result_file_name_holds_no_path(tmp_path: Path) -> None:
    file = RunDir(tmp_path).result_file("knn", "../../etc/a b.parquet")
    assert file.parent == tmp_path / "results"
    assert file.name == "knn-etc_a_b.parquet.json"


@pytest.mark.parametrize("place", ["checkpoints", "checkpoints/step-2/state.safetensors"])
def test_a_checkpoint_that_the_disk_does_not_give_is_no_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    folder, real, real_list = RunDir(tmp_path), covary.checkpoint.read_file, os.listdir
    for step in (1, 2):
        folder.save_checkpoint(step, tensors(step), {})

    def read(path: Path) -> bytes:
        if path == tmp_path / place:
            raise OSError(5, "Input/output error")
        return real(path)

    def names(path: Path) -> list[str]:
        if path == tmp_path / place:
            raise PermissionError(13, "Permission denied", str(path))
        return real_list(path)

    monkeypatch.setattr(covary.checkpoint, "read_file", read)
    monkeypatch.setattr(rundir.os, "listdir", names)
    with pytest.raises(InputError, match=r"cannot be read \((Input/output error|Permission denied)\); nothing"):
        folder.newest_checkpoint()


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "checkpoints/step-1/state.safetensors"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_pipes_and_folders_in_place_of_files_are_refused(
    tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    folder = RunDir(tmp_path)
    folder.save_checkpoint(1, tensors(1), {})
    (tmp_path / name).unlink(missing_ok=True)
    make(tmp_path / name)
    readers = {"run": folder.read_run, "met": lambda: folder.truncate_metrics(1), "che": folder.newest_checkpoint}
    with pytest.raises(InputError, match=rf"{Path(name).parts[0]}.*(no regular file|Is a directory)"):
        readers[name[:3]]()
