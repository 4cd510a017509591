"""The tasks about transformations: from a subject to views of its images, their features, and a protocol's numbers."""

from collections.abc import Callable

import torch
from torch import Tensor

from covary.augment import Labels
from covary.evaluation import sensitivity
from covary.evaluation.equivariance import equivariance
from covary.evaluation.movers import own_mover
from covary.evaluation.orbits import Orbits
from covary.evaluation.prediction import VALIDATION, Pairs, baseline, predict_transformations
from covary.evaluation.prepared import (
    LEAST_TRAIN,
    RIDGE_VIEWS,
    Fit,
    asked_about,
    check_count,
    fitted,
    reader_of,
    transformed,
)
from covary.evaluation.result import Measured
from covary.evaluation.subject import Subject, some_rows
from covary.evaluation.transformations import (
    CONDITIONS,
    TYPES,
    draw_each,
    only,
    ranges_of,
    says,
    single,
    unchanged,
)
from covary.keyed import permutation
from covary.methods import CodeMover


def check_sensitivity(subject: Subject) -> None:
    """Raise InputError where there are too few images to be compared with each other."""
    check_count(subject.test, 2)


def check_prediction(subject: Subject) -> None:
    """Raise InputError where there are too few images to fit a probe and to measure it."""
    check_count(subject.train, LEAST_TRAIN)
    check_count(subject.test, 2)


def check_equivariance(subject: Subject) -> None:
    """Raise InputError for a source without the map that is asked for, and for too few images."""
    if own_mover(subject.source, subject.options.equivariance.predictor, subject.device) is None:
        check_count(subject.train, LEAST_TRAIN)
    check_count(subject.test, 2)


def measure_equivariance(subject: Subject) -> Measured:
    """Rank predicted features among an image's views, in the conditions crop, color and all."""
    options = subject.options.equivariance
    base = ranges_of(subject.source.recipe, subject.extractor, options.ranges)
    own = own_mover(subject.source, options.predictor, subject.device)
    rows = asked_about(subject)
    metrics, fits = {}, list[Fit]()
    for condition, operations in CONDITIONS.items():
        recipe = only(base, operations, views=options.transformations)
        given = transformed(subject, subject.test, rows, recipe, stream=condition, start=options.start)
        mover = own
        if mover is None:
            fits.append(fitted(subject, recipe, stream=condition))
            mover = fits[-1].mover
        found = equivariance(mover, given, recipe, space=options.space, distance=options.distance)
        metrics |= {f"{condition}.{name}": value for name, value in found.items()}
    if own is None:
        what = (
            f"a ridge map of features, labels and their products, fitted on {fits[0].images} training images with "
            f"{RIDGE_VIEWS} views (penalties {', '.join(f'{fit.penalty:g}' for fit in fits)})"
        )
    elif isinstance(own, CodeMover):
        what = "the run's hypernetwork and a code read off another image with the same transformation"
    else:
        what = "the run's map and the relative label"
    start = "the image as it is" if options.start == "image" else "one view more"
    return Measured(
        metrics=metrics,
        protocol=f"{options.transformations} views of each of {len(rows)} test images in each condition, from {start}; "
        f"{says(only(base, CONDITIONS['all'], views=1))}, all else off; moved by {what}; ranked by {options.distance} "
        f"in the space of the {options.space} among the image's views of the condition; seed {subject.seed}; "
        f"{subject.extractor.says_images}",
    )


def measure_prediction(subject: Subject) -> Measured:
    """Predict parameters and types of transformations from pairs of features, and from codes where there are any."""
    options = subject.options.prediction
    base = ranges_of(subject.source.recipe, subject.extractor, options.ranges)
    stores = subject.train, subject.test
    counts = options.train_images, options.images
    rows = [
        some_rows(store, count, subject.seed, f"prediction {split}")
        for store, count, split in zip(stores, counts, ("train", "test"), strict=True)
    ]
    recipe = only(base, CONDITIONS["all"], views=2, always=False)
    labels = Labels(recipe)
    relative, both, typed, types = [], [], [], []
    for split, store, some in zip(("train", "test"), stores, rows, strict=True):
        params = draw_each(recipe, len(some), seed=subject.seed, stream=f"pairs {split}")
        both.append(subject.extractor.views(store, some, params, recipe).to(subject.device))
        relative.append(labels.relative(params[0], params[1]).to(subject.device))
        one = only(base, CONDITIONS["all"], views=1)
        before = unchanged(base, len(some))
        kind = permutation(len(some), seed=subject.seed, stream=f"types {split}", epoch=0) % len(TYPES)
        after = single(before, draw_each(one, len(some), seed=subject.seed, stream=f"typed {split}")[0], kind)
        typed.append(subject.extractor.views(store, some, torch.stack([before, after]), one).to(subject.device))
        types.append(kind.to(subject.device))
    held_out = permutation(len(rows[0]), seed=subject.seed, stream="probe validation", epoch=0)
    held_out = held_out[: round(VALIDATION * len(rows[0]))]

    def pairs(join: Callable[[Tensor, Tensor], Tensor]) -> Pairs:
        return Pairs(
            inputs=(join(*both[0]), join(*both[1])),
            labels=(relative[0], relative[1]),
            typed=(join(*typed[0]), join(*typed[1])),
            types=(types[0], types[1]),
        )

    features = pairs(lambda before, after: torch.cat([before, after], dim=1))
    metrics = {}
    for probe in options.probes:
        found = predict_transformations(
            features, probe, labels.names, validation=held_out, options=options, seed=subject.seed
        )
        metrics |= found if probe == "linear" else {f"mlp.{name}": value for name, value in found.items()}
    reader = reader_of(subject)
    if reader is not None:
        with torch.no_grad():
            codes = pairs(reader)
        found = predict_transformations(
            codes, "linear", labels.names, validation=held_out, options=options, seed=subject.seed
        )
        metrics |= {f"code.{name}": value for name, value in found.items()}
    metrics |= {f"baseline.{name}": value for name, value in baseline(features, labels.names).items()}
    return Measured(
        metrics=metrics,
        protocol=f"pairs of {len(rows[0])} training and {len(rows[1])} test images, both views transformed; relative "
        f"labels (AugSelf) of {says(recipe)}, all else off; types {', '.join(TYPES)}, each alone on an image as it is; "
        f"probes {' and '.join(options.probes)} on [y1; y2], chosen on {len(held_out)} training images"
        f"{'; code: a linear probe on the transformation code alone' if reader else ''}; seed {subject.seed}; "
        f"{subject.extractor.says_images}",
    )


def measure_sensitivity(subject: Subject) -> Measured:
    """Follow features along one parameter at a time, and say how invariant they are to crop, colour and both."""
    options, seed = subject.options.sensitivity, subject.seed
    orbits, metrics = Orbits(subject), {}
    rows, unit, base = orbits.rows, orbits.unit, orbits.base
    for name, steps in options.orbits.items():
        views = orbits.features(name, rows)
        distances = sensitivity.moved(views[0], views[1:], unit)
        metrics[f"{name}.slope"] = sensitivity.slope(distances, steps)
        metrics |= {f"{name}.{step:+.0%}": d for step, d in zip(steps, distances.tolist(), strict=True)}
    for condition, operations in CONDITIONS.items():
        recipe = only(base, operations, views=2)
        given = transformed(subject, subject.test, rows, recipe, stream=f"invariance {condition}")
        away = sensitivity.moved(given.start, given.views, unit).mean().item()
        metrics[f"invariance.{condition}"] = 1 - away
    return Measured(
        metrics=metrics,
        protocol=f"1 - cosine of {len(rows)} test images and their views, in units of the mean over pairs of different "
        f"images ({unit:.4g}); one parameter at a time up to its reach (100 %): zoom {options.zoom:g}, shift "
        f"{options.zoom / 2:g} of the side, rotation {options.rotation:g} degrees, colour factors 1 -+ "
        f"{options.color:g}, hue {options.hue:g}, blur {options.blur:g} px; slope: per reach; invariance: 1 - distance "
        f"under {says(only(base, CONDITIONS['all'], views=1))}; seed {seed}; {subject.extractor.says_images}",
    )
