"""Where in a file of weights an encoder lies: what its tensors' names begin with, and by which names they go."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from covary.nets.encoder import PREFIXES

COUNTER = "num_batches_tracked"  # of a BatchNorm; older files lack it, and no feature depends on it
SHOWN = 3  # beginnings of names that a line lists


@dataclass(frozen=True, kw_only=True)
class Place:
    """An encoder in a file.

    prefix: what the names of its tensors begin with.
    names:  its own name of each of its tensors -> the name in the file, behind the prefix.
    words:  how the file names them; empty where it does as the encoder does.
    """

    prefix: str
    names: Mapping[str, str]
    words: str = ""

    def state(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what the file holds of the encoder by the encoder's names."""
        places = {name: self.prefix + other for name, other in self.names.items()}
        return {name: tensors[place] for name, place in places.items() if place in tensors}

    def whatever(self, encoder: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what the file holds of the encoder, and of the same layers beside it."""
        beside = {name: tensors[self.prefix + name] for name in self.surplus(encoder, tensors)}
        return {**beside, **self.state(tensors)}

    def surplus(self, encoder: nn.Module, tensors: Mapping[str, Tensor]) -> list[str]:
        """Return the names, behind the prefix, of tensors of the same layers that the encoder does not have.

        A deeper network of the same blocks has such. A classifier is none: there the encoder has an identity, or
        nothing.
        """
        used = set(self.names.values())
        heads = {name.partition(".")[0] for name in used}
        cut = {name for name, module in encoder.named_modules() if isinstance(module, nn.Identity)}
        rest = [name.removeprefix(self.prefix) for name in tensors if name.startswith(self.prefix)]
        return [
            name
            for name in rest
            if name not in used
            and (
                PREFIXES.sub("", name) in used
                or (name.partition(".")[0] in heads and name.rpartition(".")[0] not in cut)
            )
        ]


def places(encoder: nn.Module, tensors: Mapping[str, Tensor]) -> list[Place]:
    """Return every place in a file that has at least half of an encoder's names, the one with the most first."""
    found: list[tuple[int, Place]] = []
    for names, words in _namings(encoder):
        first, *_, last = [*names.values()] * 2
        prefixes = [
            name.removesuffix(end) for end in (first, last) for name in tensors if f".{name}".endswith(f".{end}")
        ]
        for prefix in dict.fromkeys(prefixes):
            count = sum(prefix + name in tensors for name in names.values())
            if 2 * count >= len(names):
                found.append((count, Place(prefix=prefix, names=names, words=words)))
    return [place for _, place in sorted(found, key=lambda pair: -pair[0])]


def is_whole(place: Place, encoder: nn.Module, tensors: Mapping[str, Tensor]) -> bool:
    """Whether all of an encoder lies at a place, each tensor with its shape, and no more of its layers than it has.

    Counters of batches may be missing, all of them.
    """
    state, wanted = place.state(tensors), encoder.state_dict()
    missing = wanted.keys() - state.keys()
    if missing and missing != {name for name in wanted if name.endswith(COUNTER)}:
        return False
    return all(state[name].shape == wanted[name].shape for name in state) and not place.surplus(encoder, tensors)


def told(place: Place, encoder: nn.Module, tensors: Mapping[str, Tensor]) -> str:
    """Return the words that say which tensors of a file were read, and which were not."""
    used = {place.prefix + name for name in place.names.values()} & tensors.keys()
    count, others = len(encoder.state_dict()), [name for name in tensors if name not in used]
    under = f" from '{place.prefix}'" if place.prefix else ""
    parts = [f"read {len(used)} of {count} tensors of the encoder{under}{place.words and f', {place.words}'}"]
    if len(used) < count:
        parts.append(f"the file lacks the {count - len(used)} named {COUNTER}, on which no feature depends")
    if others:
        beginnings = list(dict.fromkeys(_beginning(name, place.prefix) for name in others))
        more = ", ..." if len(beginnings) > SHOWN else ""
        parts.append(f"left out {len(others)} others: {', '.join(beginnings[:SHOWN])}{more}")
    return "; ".join(parts)


def _namings(encoder: nn.Module) -> list[tuple[dict[str, str], str]]:
    """Return the names that files give to an encoder's tensors, each way with its words.

    An encoder's own; those of ``nn.Sequential(*encoder.children())``, which are numbers; and of lightly's own ResNets,
    whole or in such a sequence, whose blocks have a ``shortcut`` and which have no modules without weights.
    """
    own = list(encoder.state_dict())
    children = [name for name, _ in encoder.named_children()]
    with_weights = [child for child in children if any(name.startswith(f"{child}.") for name in own)]
    shortcut = {name: name.replace(".downsample.", ".shortcut.") for name in own}
    ways = [
        ({name: name for name in own}, ""),
        ({name: _numbered(name, children) for name in own}, f"children by number, {_numbers(children, with_weights)}"),
        (shortcut, "lightly's names"),
        (
            {name: _numbered(other, with_weights) for name, other in shortcut.items()},
            f"lightly's names, children by number, {_numbers(with_weights, with_weights)}",
        ),
    ]
    found: list[tuple[dict[str, str], str]] = []
    for names, words in ways:
        if names and all(names != earlier for earlier, _ in found):
            found.append((names, words))
    return found


def _numbered(name: str, children: list[str]) -> str:
    """Return a name with its first part, where that is one of the children, as its number among them."""
    head, dot, rest = name.partition(".")
    return f"{children.index(head)}.{rest}" if dot and head in children else name


def _numbers(children: list[str], shown: Iterable[str]) -> str:
    return ", ".join(f"{children.index(child)} {child}" for child in shown)


def _beginning(name: str, prefix: str) -> str:
    """Return the parts of a name up to the first in which it differs from a prefix."""
    parts, common = name.split("."), prefix.split(".")
    shared = next((i for i, part in enumerate(parts) if i >= len(common) or part != common[i]), 0)
    return ".".join(parts[: shared + 1])
