"""The section of transformation codes: what runs with a linear hypernetwork read off pairs of views, as a map."""

from collections.abc import Sequence

from covary.draw.maps import Panel
from covary.errors import InputError
from covary.evaluation.clusters import NEIGHBOURS, flatten, silhouette
from covary.evaluation.codes import codes_of, hypernetwork_of
from covary.evaluation.movers import own_mover
from covary.evaluation.transformations import TYPES
from covary.methods import CodeMover
from covary.report.blocks import Map, Maps, Section, Text
from covary.report.shown import Shown

IMAGES = 500
LEAST = 2 * NEIGHBOURS + 1  # images that a map is made of


def codes(shown: Sequence[Shown]) -> Section:
    """Return a map of the codes of each run that has them, and for the others a sentence why not."""
    maps, notes = list[Map](), list[Text]()
    for each in shown:
        try:
            found = _map(each)
        except InputError as error:
            found = Text(words=f"{each.name}: {error}")
        if isinstance(found, Map):
            maps.append(found)
        else:
            notes.append(found)
    blocks = (Text(words=_words(maps[0])), Maps(title="Transformation codes", maps=tuple(maps))) if maps else ()
    return Section(title="Transformation codes", blocks=(*blocks, *notes))


def _map(each: Shown) -> Map | Text:
    subject = each.subject
    mover = own_mover(subject.source, "auto", subject.device)
    if hypernetwork_of(mover) is None:
        return Text(words=f"{each.name} has no codes to map: its method moves features by no linear hypernetwork.")
    if len(subject.test) < LEAST:
        return Text(words=f"{each.name}: {len(subject.test)} test images are too few for a map, which takes {LEAST}.")
    found = codes_of(subject, IMAGES)
    flat, flattening = flatten(found.rows, seed=0)
    what = "codes read off pairs" if isinstance(mover, CodeMover) else "labels, which the method is given"
    panel = Panel(
        title=each.name,
        note=f"{what}; {flattening}; silhouette {silhouette(found.rows, found.types):.2f}",
        points=flat.numpy(),
        groups=found.types.numpy(),
        names=TYPES,
    )
    return Map(run=each.run, panel=panel)


def _words(drawn: Map) -> str:
    return (
        f"One change each of {len(drawn.panel.points)} test images ({', '.join(TYPES)} in turn): a point is what the "
        "run's hypernetwork is told of the pair, image and changed image, and near points are told alike. Silhouette, "
        "of the codes themselves and not of their map: 1 where types lie apart, 0 where they are mixed."
    )
