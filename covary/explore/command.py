"""``covary explore``: a run and images to a folder that a browser opens."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from covary.augment import Recipe
from covary.dist import choose_device
from covary.errors import InputError
from covary.evaluation.equivariance import EquivarianceOptions
from covary.evaluation.options import Options
from covary.evaluation.prepared import asked_about
from covary.evaluation.sensitivity import for_orbits
from covary.evaluation.source import Source, resolve
from covary.evaluation.subject import Subject, some_rows
from covary.evaluation.transformations import ranges_of
from covary.explore.analogy import IMAGES, KINDS, VARIANTS, Kind, analogy, check, kind_of
from covary.explore.changes import Changes, changes_of, codes_map
from covary.explore.maps import image_map
from covary.explore.orbits import Sweep, orbits, sweeps
from covary.explore.page import Words, write_page
from covary.explore.sprites import map_sheet, sheet
from covary.nets.resnet import Stem
from covary.private import run_names
from covary.written import check_free, staged


def explore(
    run: str | Path,
    *,
    data: str,
    out: str | Path,
    compare: str | Path | None = None,
    images: int = 2000,
    encoder: str | None = None,
    stem: Stem | None = None,
    prefix: str = "",
    ignore: Sequence[str] = (),
    image_size: int | None = None,
    device: str = "auto",
    batch_size: int = 256,
    root: str | Path | None = None,
    cache: str | Path | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Write a folder whose ``index.html`` shows what the features of images do; return its path.

    It opens from the disk or from any web server, runs its own script alone and asks for nothing outside itself. The
    same arguments give the same bytes on one machine.

    run:        folder of a finished run, or another SOURCE (``evaluation.source.resolve``), also for ``encoder``,
                ``stem``, ``prefix`` and ``ignore``.
    data:       SPEC; its test images are shown, its training images fit a map where the run has none.
    out:        folder to make; it is there whole or not at all.
    compare:    a second run, shown beside the first on the same images under the first one's ranges.
    images:     on the map, ``analogy.IMAGES`` at least; 0 takes all test images.
    image_size: pixels; None takes the run's own, else the native size of the images.
    device, batch_size, root, cache: as of ``evaluate``.
    seed:       of the choice of images and of what is done to them. Ranks of the kinds crop, color and all are those
                of ``evaluate`` for the same seed and ``EQUIVARIANCE``.
    say:        is told each stage in a line.

    Raises InputError before any feature is computed: ``out`` is there already, a run is not finished or given twice,
    the images are unknown or too few, or the runs see images of different sizes.
    """
    out = Path(out).expanduser()
    for name, number, least in (("images", images, 0), ("batch_size", batch_size, 1), ("image_size", image_size, 1)):
        if number is not None and number < least:
            raise InputError(f"{name} is {number}; expected {least} or more.")
    if not 0 <= seed < 2**63:
        raise InputError(f"seed is {seed}; expected a whole number in [0, 2**63).")
    check_free(out, suffix="")
    place = choose_device(device)
    first = resolve(run, encoder=encoder, stem=stem, prefix=prefix, ignore=ignore, seed=seed)
    sources = [first] if compare is None else [first, replace(resolve(compare, seed=seed), augment=first.augment)]
    names = _names([str(run)] if compare is None else [str(run), str(compare)])
    subjects = [
        Subject(
            source=source,
            data=data,
            device=place,
            batch_size=batch_size,
            seed=seed,
            options=Options(equivariance=EQUIVARIANCE),
            image_size=image_size,
            root=None if root is None else Path(root),
            cache=None if cache is None else Path(cache),
        )
        for source in sources
    ]
    sizes = [subject.extractor.size for subject in subjects]
    if len(set(sizes)) > 1:
        raise InputError(
            f"'{run}' sees images of {sizes[0]} px and '{compare}' of {sizes[1]} px; give --image-size, which is then "
            "that of both, or compare runs of one size."
        )
    for subject in subjects:
        check(subject)
    scene = _scene(subjects[0], images)
    words = Words(known=(str(run), str(compare), data, *(str(Path(each).resolve()) for each in (run, compare) if each)))
    with torch.no_grad(), staged(out) as folder:
        content = _shown(scene, words, folder, say)
        content["runs"] = [
            {"name": words.shown(name), "about": words.shown(_about(subject.source)), **_of_run(subject, scene, say)}
            for name, subject in zip(names, subjects, strict=True)
        ]
        write_page(folder, content)
    return out


EQUIVARIANCE = EquivarianceOptions(images=IMAGES, transformations=VARIANTS)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is shown of every run alike.

    few:     int64 (n,), rows of the test images of analogies and orbits; 2i and 2i+1 are partners.
    many:    int64 (m,), rows of those on the map; it begins with ``few``.
    kinds:   of transformations.
    along:   the recipe of the orbits, and what they sweep over.
    changes: images of which one thing is changed, for the map of codes.
    """

    subject: Subject
    few: Tensor
    many: Tensor
    kinds: Sequence[Kind]
    along: Recipe
    sweeps: Sequence[Sweep]
    changes: Changes


def _scene(subject: Subject, images: int) -> Scene:
    base, few = ranges_of(subject.source.recipe, subject.extractor, "auto"), asked_about(subject)
    along = for_orbits(base, subject.options.sensitivity)
    return Scene(
        subject=subject,
        few=few,
        many=some_rows(subject.test, images and max(images, len(few)), subject.seed, "equivariance"),
        kinds=[kind_of(subject, base, name, len(few)) for name in KINDS],
        along=along,
        sweeps=sweeps(along, len(few), subject.options.sensitivity),
        changes=changes_of(subject, images),
    )


def _shown(scene: Scene, words: Words, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Write the pictures; return what the page says of images and transformations, whatever the run."""
    say("pictures")
    store = scene.subject.test
    return {
        "data": words.shown(scene.subject.data),
        "seed": scene.subject.seed,
        "size": scene.subject.extractor.size,
        "classes": None if store.classes is None else [words.shown(name) for name in store.classes],
        "images": {**words.of_images(store, scene.many), "sheet": map_sheet(folder, "images", store, scene.many)},
        "few": sheet(folder, "few", store, scene.few, scene.along, scene.sweeps[0].start[None]),
        "kinds": [
            {**kind.to_json(), "sheet": sheet(folder, kind.name, store, kind.rows(scene.few), kind.recipe, kind.grid)}
            for kind in scene.kinds
        ],
        "orbits": [
            {
                **sweep.to_json(),
                "sheet": sheet(folder, f"orbit-{sweep.name}", store, scene.few, scene.along, sweep.views),
            }
            for sweep in scene.sweeps
        ],
        "changes": {
            **words.of_images(store, scene.changes.pairs.images),
            **scene.changes.to_json(),
            "sheet": scene.changes.sheet(folder, store),
        },
    }


def _of_run(subject: Subject, scene: Scene, say: Callable[[str], None]) -> Mapping[str, Any]:
    """Return what the page says of a run."""
    name, kinds = subject.source.name, {}
    for kind in scene.kinds:
        say(f"{name}: analogies of {kind.name}")
        kinds[kind.name] = analogy(subject, kind, scene.few).to_json()
    say(f"{name}: map of {len(scene.many):,} images")
    shown, features = image_map(subject, scene.many)
    say(f"{name}: codes and orbits")
    return {
        "analogies": kinds,
        "images": shown,
        "codes": codes_map(subject, scene.changes),
        "orbits": orbits(subject, scene.few, scene.along, scene.sweeps, features),
    }


def _names(runs: Sequence[str]) -> list[str]:
    """Return what the runs are called: folders by their own names, other sources as they are written.

    Raises InputError: one is given twice.
    """
    places = [Path(run).expanduser().resolve() for run in runs]
    if len(set(places)) < len(places):
        raise InputError(f"The run {runs[0]} is compared with itself; give another --compare, or none.")
    return run_names(places) if all(place.is_dir() for place in places) else list(runs)


def _about(source: Source) -> str:
    """Return a line on how a run was trained; empty for other sources."""
    content = source.run and source.run.read_run()
    if not content:
        return ""
    run = content["run"]
    epochs = f"{run['epochs']} epoch{'s' * (run['epochs'] != 1)}"
    return f"{run['method']['name']}, {run['encoder']}, {epochs} of {run['data']}"
