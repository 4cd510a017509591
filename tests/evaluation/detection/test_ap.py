import contextlib
import io

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from covary.evaluation.detection.ap import Detections, Truth, average_precision

THRESHOLDS = [0.5 + 0.05 * step for step in range(10)]
RECALLS = [step / 100 for step in range(101)]


def boxes_like(generator: np.random.Generator, count: int) -> torch.Tensor:
    corner, size = generator.integers(0, 30, (count, 2)), generator.integers(4, 30, (count, 2))
    return torch.from_numpy(np.concatenate([corner, corner + size], axis=1)).double().view(-1, 4)


def random_images(seed: int, *, images: int = 12, difficult: float = 0.2) -> tuple[list[Detections], list[Truth]]:
    """Crowded boxes of four classes: objects of 4 are all difficult, 3 is never found; some images are empty."""
    generator = np.random.default_rng(seed)
    found, truth = [], []
    for index in range(images):
        count = 0 if index == 3 else int(generator.integers(1, 12))
        labels = torch.from_numpy(generator.integers(1, 5, count))
        boxes = boxes_like(generator, count)
        hard = torch.from_numpy(generator.random(count) < difficult) | (labels == 4)
        truth.append(Truth(boxes=boxes, labels=labels, difficult=hard))
        near = boxes.repeat(2, 1) + torch.from_numpy(generator.integers(-3, 4, (2 * count, 4)))
        near[:, 2:] = torch.maximum(near[:, 2:], near[:, :2] + 1)
        stray = 0 if index == 5 else 8
        labelled = torch.cat([labels.repeat(2), torch.from_numpy(generator.integers(1, 5, stray))])
        kept = labelled != 3
        found.append(
            Detections(
                boxes=torch.cat([near, boxes_like(generator, stray)])[kept],
                labels=labelled[kept],
                scores=torch.from_numpy(generator.integers(1, 10, len(labelled)) / 10.0)[kept],  # many ties
            )
        )
    return found, truth


def overlap(a: list[float], b: list[float], *, of_first: bool) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    first, second = ((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    return shared / (first if of_first else first + second - shared)


def naive_ap(found: list[Detections], truth: list[Truth], label: int, threshold: float) -> float:
    """COCO's definition in loops: one class, one threshold, 101 recalls."""
    verdicts: list[tuple[float, bool]] = []  # score, right; neither right nor wrong are left out
    asked = 0
    for detections, objects in zip(found, truth, strict=True):
        own = [i for i in range(len(objects.labels)) if objects.labels[i] == label]
        real = [objects.boxes[i].tolist() for i in own if not objects.difficult[i]]
        crowds = [objects.boxes[i].tolist() for i in own if objects.difficult[i]]
        asked += len(real)
        taken = [False] * len(real)
        mine = [i for i in range(len(detections.labels)) if detections.labels[i] == label]
        for i in sorted(mine, key=lambda i: -float(detections.scores[i])):
            box, score = detections.boxes[i].tolist(), float(detections.scores[i])
            free = [(overlap(box, real[j], of_first=False), j) for j in range(len(real)) if not taken[j]]
            best, place = max(free, default=(0.0, -1))  # of equals the last, as pycocotools
            if best >= threshold - 1e-12:
                taken[place] = True
                verdicts.append((score, True))
            elif not any(overlap(box, crowd, of_first=True) >= threshold - 1e-12 for crowd in crowds):
                verdicts.append((score, False))
    verdicts.sort(key=lambda verdict: -verdict[0])
    points, right = [], 0
    for rank, (_, hit) in enumerate(verdicts, start=1):
        right += hit
        points.append((right / asked, right / rank))
    return sum(max((p for r, p in points if r >= recall - 1e-12), default=0.0) for recall in RECALLS) / 101


@pytest.mark.parametrize("seed", range(4))
def test_equals_the_definition_in_loops(seed: int) -> None:
    found, truth = random_images(seed)
    result = average_precision(found, truth)
    table = {label: [naive_ap(found, truth, label, t) for t in THRESHOLDS] for label in (1, 2, 3)}
    assert result.per_class == pytest.approx({label: sum(row) / 10 for label, row in table.items()}, abs=1e-12)
    assert result.ap == pytest.approx(sum(map(sum, table.values())) / 30, abs=1e-12)
    assert result.ap50 == pytest.approx(sum(row[0] for row in table.values()) / 3, abs=1e-12)
    assert result.ap75 == pytest.approx(sum(row[5] for row in table.values()) / 3, abs=1e-12)
    assert 0.02 < result.ap < result.ap50 < 0.9
    assert result.per_class[3] == 0


@pytest.mark.parametrize("seed", range(4))
def test_equals_pycocotools_called_directly(seed: int) -> None:
    found, truth = random_images(seed)
    gt, results = COCO(), []
    gt.dataset = {"images": [{"id": i} for i in range(len(truth))], "categories": [{"id": c} for c in (1, 2, 3, 4)]}
    gt.dataset["annotations"] = []
    for index, (one, objects) in enumerate(zip(found, truth, strict=True)):
        for box, label, hard in zip(objects.boxes.tolist(), objects.labels.tolist(), objects.difficult, strict=True):
            x1, y1, x2, y2 = box
            w, h = x2 - x1, y2 - y1
            number = len(gt.dataset["annotations"]) + 1
            gt.dataset["annotations"].append(
                {"id": number, "image_id": index, "category_id": label, "bbox": [x1, y1, w, h], "area": w * h}
                | {"iscrowd": int(hard)}
            )
        for (x1, y1, x2, y2), label, score in zip(
            one.boxes.tolist(), one.labels.tolist(), one.scores.tolist(), strict=True
        ):
            results.append(
                {"image_id": index, "category_id": label, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
            )
    with contextlib.redirect_stdout(io.StringIO()):
        gt.createIndex()
        evaluation = COCOeval(gt, gt.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    result = average_precision(found, truth)
    assert [result.ap, result.ap50, result.ap75] == pytest.approx(evaluation.stats[:3].tolist(), abs=1e-15)


def one(boxes: list, labels: list[int], last: list) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.tensor(boxes).view(-1, 4), torch.tensor(labels, dtype=torch.int64), torch.tensor(last)


def test_all_found_is_one_and_nothing_found_is_zero(capsys: pytest.CaptureFixture[str]) -> None:
    boxes, labels, hard = one([[0.0, 0, 10, 10], [20, 20, 30, 40]], [1, 2], [False, False])
    truth = [Truth(boxes=boxes, labels=labels, difficult=hard)]
    nothing = Detections(boxes=boxes[:0], labels=labels[:0], scores=torch.zeros(0))
    perfect = average_precision([Detections(boxes=boxes, labels=labels, scores=torch.tensor([0.9, 0.1]))], truth)
    assert [perfect.ap, perfect.ap50, perfect.ap75] == pytest.approx([1, 1, 1], abs=1e-12)
    none = average_precision([nothing], truth)
    assert (none.ap, none.ap50, none.ap75, none.per_class) == (0, 0, 0, {1: 0, 2: 0})
    assert capsys.readouterr().out == ""


def test_a_box_counts_from_its_overlap_on() -> None:
    """Of 100 square pixels 60 are shared, of 100 in all: IoU 0.6 passes .5, .55 and .6."""
    boxes, labels, hard = one([[0.0, 0, 10, 10]], [1], [False])
    found = Detections(boxes=torch.tensor([[0.0, 0, 10, 6]]), labels=labels, scores=torch.tensor([0.5]))
    result = average_precision([found], [Truth(boxes=boxes, labels=labels, difficult=hard)])
    assert [result.ap, result.ap50, result.ap75] == pytest.approx([0.3, 1, 0], abs=1e-12)


def test_nothing_to_find_is_no_result() -> None:
    boxes, labels, hard = one([[0.0, 0, 10, 10]], [1], [True])
    found = Detections(boxes=boxes, labels=labels, scores=torch.tensor([0.5]))
    with pytest.raises(ValueError, match="No object is asked for"):
        average_precision([found], [Truth(boxes=boxes, labels=labels, difficult=hard)])
    with pytest.raises(ValueError, match="0 images with detections for 1"):
        average_precision([], [Truth(boxes=boxes, labels=labels, difficult=~hard)])
