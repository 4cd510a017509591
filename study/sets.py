"""Where the sets of a study lie: folders below one folder, or what covary knows by name; and two sets as one."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from covary.errors import InputError
from study.plan import STUDIES, TOGETHER


def spec_of(name: str, sets: Path, runs: Path) -> str:
    """Return the SPEC of a set: its folder below ``sets`` where there is one, else its name.

    Two sets as one are written below ``runs`` when first asked for.
    """
    if name == TOGETHER:
        return str(_together(name.split("+"), sets, runs / "sets" / name))
    folder = sets / name
    return str(folder) if folder.is_dir() else name


def name_of(spec: str) -> str:
    """Return the name of a set from its SPEC."""
    return Path(spec).name


def check_sets(sets: Path) -> None:
    """Raise InputError unless there is a folder of sets with one of them inside."""
    if not any((sets / study.in_domain[0]).is_dir() for study in STUDIES.values()):
        raise InputError(f"{sets} holds no set of a study, such as cifar10; name the folder of sets with --sets.")


def _together(names: Sequence[str], sets: Path, folder: Path) -> Path:
    """Write the images of several sets as one parquet file without labels, in the order of the names."""
    if not (folder / "train.parquet").is_file():
        tables = []
        for name in names:
            file = sets / name / "train.parquet"
            if not file.is_file():
                raise InputError(f"{file} is missing; S2 trains on {' and '.join(names)} together.")
            image = pq.read_table(file, columns=["image"]).column("image").combine_chunks()
            kept = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
            paths = [f"{name}/{row:05d}" for row in range(len(image))]
            tables.append(
                pa.table({"image": pa.StructArray.from_arrays([image.field("bytes"), pa.array(paths)], type=kept)})
            )
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / "part"
        pq.write_table(pa.concat_tables(tables), part, row_group_size=1000, compression="zstd")
        part.rename(folder / "train.parquet")
    return folder
