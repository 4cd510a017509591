"""From a SPEC to its source."""

from pathlib import Path

from covary.data import folder, hub, imagenet100, parquet, shapes, tar, torchvision_sets
from covary.data import spec as grammar
from covary.data.source import Source, Split
from covary.errors import InputError, did_you_mean

NAMES = ("shapes", "imagenet100", "wds", "hf", *torchvision_sets.SETS)


def find(spec: str, *, split: Split, root: Path, size: int = shapes.SIZE, labelled: bool = False) -> Source:
    """Return the source that a SPEC names; a known name goes before a folder of the same name.

    size: the side at which ``shapes`` are rendered.
    """
    if split not in ("train", "test"):
        raise InputError(f"split '{split}' is unknown; expected 'train' or 'test'.")
    match spec.partition(":")[0]:
        case "shapes":
            return shapes.source(spec, split=split, size=size)
        case "wds":
            return tar.source(spec, split=split)
        case "hf":
            return hub.source(spec, split=split)
        case "imagenet100":
            return imagenet100.source(spec, split=split, root=root)
        case name if name in torchvision_sets.SETS:
            grammar.parse(spec, allowed=())
            return torchvision_sets.source(name, split=split, labelled=labelled, root=root)
        case _:
            return _path(spec, split)


def _path(spec: str, split: Split) -> Source:
    path = Path(spec).expanduser()
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "is neither a folder nor a known name"
        names = ", ".join(("shapes", "imagenet100", *torchvision_sets.SETS))
        raise InputError(
            f"the data '{spec}' {what}; expected a folder of images or parquet files, wds:PATTERN, hf:NAME, or one of "
            f"{names}.{did_you_mean(spec.partition(':')[0], NAMES)}"
        )
    if parquet.is_parquet(path):
        return parquet.source(spec, path, split=split)
    return folder.source(spec, path, split=split)
