"""ImageNet-100: a hundred classes of an ImageNet folder.

The list is the one of Contrastive Multiview Coding (Tian, Krishnan and Isola, arXiv 1906.05849: ``imagenet100.txt``
of the authors' repository, HobbitLong/CMC at bc687a26), which the STL paper trains on; here sorted.
"""

from pathlib import Path

from covary.data import folder
from covary.data import spec as grammar
from covary.data.source import Source, Split
from covary.errors import InputError, MissingData

WNIDS = """
n01558993 n01692333 n01729322 n01735189 n01749939 n01773797 n01820546 n01855672 n01978455 n01980166
n01983481 n02009229 n02018207 n02085620 n02086240 n02086910 n02087046 n02089867 n02089973 n02090622
n02091831 n02093428 n02099849 n02100583 n02104029 n02105505 n02106550 n02107142 n02108089 n02109047
n02113799 n02113978 n02114855 n02116738 n02119022 n02123045 n02138441 n02172182 n02231487 n02259212
n02326432 n02396427 n02483362 n02488291 n02701002 n02788148 n02804414 n02859443 n02869837 n02877765
n02974003 n03017168 n03032252 n03062245 n03085013 n03259280 n03379051 n03424325 n03492542 n03494278
n03530642 n03584829 n03594734 n03637318 n03642806 n03764736 n03775546 n03777754 n03785016 n03787032
n03794056 n03837869 n03891251 n03903868 n03930630 n03947888 n04026417 n04067472 n04099969 n04111531
n04127249 n04136333 n04229816 n04238763 n04336792 n04418357 n04429376 n04435653 n04485082 n04493381
n04517823 n04589890 n04592741 n07714571 n07715103 n07753275 n07831146 n07836838 n13037406 n13040303
"""


def source(spec: str, *, split: Split, root: Path) -> Source:
    """Return the source of ``imagenet100``; options ``folder=DIR`` (default: ROOT/imagenet) and ``classes=FILE``."""
    _, chosen = grammar.parse(spec, allowed=("folder", "classes"))
    place = Path(chosen["folder"]).expanduser() if "folder" in chosen else root / "imagenet"
    if not place.is_dir():
        raise MissingData(
            f"{place} is not there; '{spec}' needs the ImageNet folder with train/ and val/ "
            "(write imagenet100:folder=DIR, or name another --root)."
        )
    classes = _read(Path(chosen["classes"])) if "classes" in chosen else tuple(WNIDS.split())
    return folder.source(spec, place, split=split, classes=classes)


def _read(file: Path) -> tuple[str, ...]:
    try:
        classes = tuple(file.expanduser().read_text().split())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the class list {file} cannot be read ({error}); give a text file of one class a line."
        ) from error
    if len(set(classes)) < 2:
        raise InputError(f"the class list {file} names {len(set(classes))} class(es); expected two or more.")
    return classes
