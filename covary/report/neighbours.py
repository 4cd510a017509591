"""The section of nearest neighbours: the training images whose features are nearest to those of some test images."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from covary.data import ImageStore
from covary.draw.tiles import Tile
from covary.errors import InputError
from covary.evaluation.features import check_finite
from covary.evaluation.knn import nearest
from covary.evaluation.subject import Subject, some_rows
from covary.report.blocks import Answer, Cell, Queries, Query, Row, Section, Table, Text
from covary.report.shown import SEED, Shown, chosen, class_name, pixels, sharpest
from covary.report.tables import number

ASKED, FOUND = 6, 6
BANK = 5000  # training images that neighbours are looked for among
SAME, OTHER = "\u2713", "\u2717"  # a tick, a cross


def neighbours(shown: Sequence[Shown]) -> Section:
    """Return the nearest training images of some test images, of each run."""
    if not shown:
        return Section(title="Nearest neighbours", blocks=())
    asked = sharpest(shown).subject
    rows, answers, notes = chosen(asked, ASKED), dict[int, list[tuple[Tile, ...]]](), list[Text]()
    for each in shown:
        try:
            answers[each.run] = _found(each.subject, rows)
        except InputError as error:
            notes.append(Text(words=f"{each.name}: {error}", warning=True))
    images = asked.test.images(rows)[0]
    queries = tuple(
        Query(
            asked=Tile(pixels=pixels(images[place]), words=class_name(asked, _label(asked.test, int(row)))),
            answers=tuple(Answer(run=run, tiles=tiles[place]) for run, tiles in answers.items()),
        )
        for place, row in enumerate(rows)
    )
    count = len(_bank(asked))
    words = (
        f"{len(rows)} test images, and of {count:,} training images those whose features are nearest to theirs, with "
        "the cosine. A glimpse: what the neighbours are worth is measured by covary evaluate --task knn."
    )
    if asked.labelled:
        words += f" {SAME} and a whole frame: the class of the test image. {OTHER} and a dashed frame: another."
    tables = (_agreement(shown, rows, answers),) if asked.labelled and answers else ()
    blocks = (Text(words=words), *notes, *tables, Queries(title="Nearest neighbours", queries=queries))
    return Section(title="Nearest neighbours", blocks=blocks)


@torch.no_grad()
def _found(subject: Subject, rows: Tensor) -> list[tuple[Tile, ...]]:
    """Return the tiles of the nearest training images of each test image."""
    bank = _bank(subject)
    features, queries = subject.features_of(bank), subject.extractor.features(subject.test, rows).to(subject.device)
    check_finite(features, "training images")
    check_finite(queries, "test images")
    cosines, columns = nearest(normalize(queries) @ normalize(features).mT, min(FOUND, len(bank)))
    return [
        _tiles(subject, bank, found.cpu(), cosine.tolist(), _label(subject.test, int(row)))
        for found, cosine, row in zip(columns, cosines, rows, strict=True)
    ]


def _tiles(
    subject: Subject, bank: ImageStore, found: Tensor, cosines: Sequence[float], label: int | None
) -> tuple[Tile, ...]:
    tiles = []
    for image, place, cosine in zip(bank.images(found)[0], found.tolist(), cosines, strict=True):
        mine = _label(bank, place)
        agrees = None if label is None or mine is None else mine == label
        mark = "" if agrees is None else f"{SAME if agrees else OTHER} "
        words = class_name(subject, mine)
        tiles.append(Tile(pixels=pixels(image), words=words, note=f"{mark}{cosine:.2f}", framed=agrees))
    return tuple(tiles)


def _bank(subject: Subject) -> ImageStore:
    return subject.train.select(some_rows(subject.train, BANK, SEED, "neighbours"))


def _label(store: ImageStore, row: int) -> int | None:
    """Return the label of an image, None where it has none."""
    return None if store.labels is None or store.labels[row] < 0 else int(store.labels[row])


def _agreement(shown: Sequence[Shown], rows: Tensor, answers: dict[int, list[tuple[Tile, ...]]]) -> Table:
    """Return how many neighbours are of the test image's class, and how many would be by chance."""
    subject = sharpest(shown).subject
    labels, wanted = _bank(subject).labels, (_label(subject.test, int(row)) for row in rows)
    found = 0 if labels is None else min(FOUND, len(labels))
    chance = sum(found * float(np.mean(labels == label)) for label in wanted if label is not None)
    cells = []
    for tiles in answers.values():
        marks = [tile.framed for some in tiles for tile in some if tile.framed is not None]
        cells.append(Cell(text=f"{sum(marks)} of {len(marks)}", number=True))
    heads = (Cell(text=each.name, run=each.run, number=True) for each in shown if each.run in answers)
    return Table(
        title="",
        head=(Cell(text=""), *heads, Cell(text="by chance", number=True)),
        rows=(Row(cells=(Cell(text="of the same class"), *cells, Cell(text=number(round(chance, 1)), number=True))),),
    )
