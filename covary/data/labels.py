"""From labels as files hold them (numbers, words, nothing) to class names and indices into them."""

from collections.abc import Iterable

from covary.errors import InputError

RawLabel = int | str | None
NO_LABEL = -1
GREATEST = 1_000_000  # that a label by number may be


def class_names(labels: Iterable[RawLabel], *, name: str) -> tuple[str, ...] | None:
    """Return the classes that labels name: their words, sorted, or "0" up to the largest number.

    None where no image has a label. Raises InputError where words and numbers are mixed.
    """
    found = {label for label in labels if label is not None and label != NO_LABEL}
    words = sorted(label for label in found if isinstance(label, str))
    numbers = [label for label in found if isinstance(label, int)]
    if words and numbers:
        raise InputError(
            f"{name} labels some images by word ('{words[0]}') and some by number ({numbers[0]}); use one."
        )
    if numbers and min(numbers) < 0:
        raise InputError(f"{name} has the label {min(numbers)}; expected 0 and above, or -1 for an unlabelled image.")
    if numbers and max(numbers) > GREATEST:
        raise InputError(
            f"{name} has the label {max(numbers)}; expected at most {GREATEST:,}, one less than its classes."
        )
    if numbers:
        return tuple(str(number) for number in range(max(numbers) + 1))
    return tuple(words) or None


class Indexer:
    """Maps a raw label to its index into the classes, −1 for no label."""

    def __init__(self, classes: tuple[str, ...] | None, *, name: str) -> None:
        self._index = {word: index for index, word in enumerate(classes or ())}
        self._name = name

    def __call__(self, label: RawLabel) -> int:
        """Return the index of a label; InputError for one that names no class."""
        if label is None or label == NO_LABEL:
            return NO_LABEL
        if isinstance(label, str) and label in self._index:
            return self._index[label]
        if isinstance(label, int) and 0 <= label < len(self._index):
            return label
        raise InputError(f"{self._name} has the label {label!r}, which is none of its {len(self._index)} classes.")
