import pytest

from covary.errors import InputError
from covary.evaluation.detection import DetectionOptions
from covary.evaluation.detection.options import SMALL, VOC0712, Schedule


def test_the_published_learning_rates() -> None:
    """lr 0.1 / 10 at 18,000 and 22,000 of 24,000; linear warm-up over 1,000 from 0.333."""
    expected = {0: 0.0333, 500: 0.1 * (1 + 0.333) / 2, 1000: 0.1, 17_999: 0.1, 18_000: 0.01, 21_999: 0.01, 22_000: 1e-3}
    assert {i: VOC0712.learning_rate(i) for i in expected} == pytest.approx(expected)
    assert (VOC0712.batch_size, VOC0712.sizes[0], VOC0712.sizes[-1], len(VOC0712.sizes)) == (16, 480, 800, 11)
    assert VOC0712.test_proposals == (6000, 1000)


def test_warm_up_and_drops_follow_the_number_of_iterations() -> None:
    short = DetectionOptions(schedule="voc07+12", iterations=240).resolved("x")
    for iteration in range(240):
        assert short.learning_rate(iteration) == pytest.approx(VOC0712.learning_rate(iteration * 100))


def test_without_warm_up_the_rate_is_whole_at_once() -> None:
    assert Schedule(warmup=0.0).learning_rate(0) == 0.1


def test_the_images_choose_the_schedule_and_options_change_it() -> None:
    assert DetectionOptions().resolved("voc07+12") == VOC0712
    assert DetectionOptions().resolved("some/folder") == SMALL
    assert DetectionOptions(schedule="small").resolved("voc07+12") == SMALL
    changed = DetectionOptions(batch_size=2, lr=0.5, sizes=(64,), test_size=96, anchors=(8,), precise_bn=3).resolved("")
    assert (changed.batch_size, changed.lr, changed.sizes, changed.test_size) == (2, 0.5, (64,), 96)
    assert DetectionOptions(max_size=400).resolved("").max_size == 400
    assert (changed.anchors, changed.precise_bn, changed.iterations) == ((8,), 3, SMALL.iterations)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"schedule": "smal"}, "detection schedule is 'smal'; expected auto, voc07+12, small. Did you mean 'small'?"),
        ({"iterations": 0}, "detection iterations is 0; expected 1 or more."),
        ({"batch_size": 0}, "detection batch_size is 0; expected 1 or more."),
        ({"precise_bn": -1}, "detection precise_bn is -1; expected 0 or more."),
        ({"test_size": 63}, "detection test_size is 63; expected 64 or more."),
        ({"lr": 0.0}, "detection lr is 0; expected a positive number."),
        ({"lr": float("nan")}, "detection lr is nan; expected a positive number."),
        ({"sizes": (96, 32)}, "detection sizes is (96, 32); expected one or more lengths of 64 pixels or more."),
        ({"sizes": ()}, "detection sizes is (); expected one or more lengths of 64 pixels or more."),
        (
            {"schedule": "small", "test_size": 321},
            "detection test_size asks for a shorter side of 321 pixels, but max_size, the limit of the longer side, is "
            "320; lower --detection.test-size or raise --detection.max-size.",
        ),
        (
            {"sizes": (96, 1400, 64)},
            "detection sizes asks for a shorter side of 1400 pixels, but max_size, the limit of the longer side, is "
            "320; lower --detection.sizes or raise --detection.max-size.",
        ),
        (
            {"schedule": "voc07+12", "max_size": 799},
            "detection test_size asks for a shorter side of 800 pixels, but max_size, the limit of the longer side, is "
            "799; lower --detection.test-size or raise --detection.max-size.",
        ),
        ({"anchors": (0,)}, "detection anchors is (0,); expected one or more lengths in pixels."),
    ],
)
def test_mistakes_are_named(option: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        DetectionOptions(**option)
    assert str(caught.value) == message


def test_what_one_schedule_takes_waits_for_the_images_that_choose_it() -> None:
    large = DetectionOptions(sizes=(480,), test_size=640)
    assert large.resolved("voc07+12").test_size == 640
    with pytest.raises(InputError, match="detection test_size asks for a shorter side of 640 pixels"):
        large.resolved("some/folder")
    assert DetectionOptions(max_size=200).resolved("some/folder").max_size == 200
