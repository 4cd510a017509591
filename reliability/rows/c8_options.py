"""C8: whatever option or saved value is wrong is refused in one line before any image is looked at.

Options of both commands: each misspelt by one letter, each number as a word, not a number, infinite and negative, each
choice as another word. ``run.json``, which has no comments or anchors to get wrong: each key misspelt, missing, there
once more by another name or its own, and of another type.
"""

import contextlib
import copy
import io
import itertools
import json
import random
import re
import string
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import tyro

from covary import config
from covary.cli import main
from reliability.commands import Answer, command
from reliability.row import Count, Figure, Row, replaced

COMMANDS = {
    "pretrain": ("pretrain", "--data", "shapes", "--image-size", "8", "--device", "cpu", "--out", "out"),
    "evaluate": ("evaluate", "untrained:resnet8", "--data", "shapes", "--device", "cpu"),
}
HAVE_A_MEANING = {  # numbers that look wrong and are not
    ("--knn-epochs", "-1"): "none",
    ("--checkpoint-minutes", "inf"): "never by the clock",
    ("--augment.mean", "-1"): "values in [0, 1] may be centred anywhere",
}
ALL = 2000  # more than there are
RIGHT = 0.95  # of the suggestions for a misspelt option
TOUCHES = ("covary.training.load", "covary.run.native_size", "covary.evaluation.command.resolve")


@dataclass(frozen=True)
class Case:
    """What is wrong, a command, a ``run.json`` in its folder (None: none), and the option that it should suggest."""

    kind: str
    name: str
    words: tuple[str, ...]
    run_json: str | None = None
    suggests: str | None = None


class TouchedError(Exception):
    """Images, or what is to be evaluated, were looked at."""


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Give every wrong option and value to the commands."""
    draw, count = random.Random(seed), Count()
    cases = [*wrong_options(draw), *wrong_keys(draw)]
    draw.shuffle(cases)
    turns: dict[str, Iterator[int]] = defaultdict(itertools.count)
    cases.sort(key=lambda case: next(turns[case.kind]))  # kinds by turns, so that a few cases are of every kind
    right = asked = 0
    for case in cases[: trials - 1]:
        if case.run_json is not None:
            Path("out").mkdir(exist_ok=True)
            Path("out/run.json").write_text(case.run_json)
        answer = without_images(case.words)
        Path("out/run.json").unlink(missing_ok=True)
        if case.suggests:
            asked += 1
            right += f"Did you mean {case.suggests}?" in answer.err
        count.add(case.name, held=answer.code == 2 and answer.one_line, seen=answer)
    share = right / max(1, asked)
    count.add("suggestions", held=share >= RIGHT, seen=f"{right} of {asked} are right")
    return count.figure(suggestions_right=f"{right}/{asked}")


def without_images(words: Sequence[str]) -> Answer:
    """Run a command that must not look at images."""
    with contextlib.ExitStack() as patches:
        for place in TOUCHES:
            patches.enter_context(patch(place, side_effect=TouchedError))
        try:
            return command(*words)
        except (Exception, SystemExit) as error:  # it went on to look at images, or broke
            return Answer(-1, "", repr(error))


def wrong_options(draw: random.Random) -> Iterator[Case]:
    """Yield a command with each option misspelt, and with each value that its kind cannot have."""
    for words in COMMANDS.values():
        kinds = dict(re.findall(r"^  (--[a-z][\w.-]*)(?:, --\S+)?( .*)?$", help_of(words), re.MULTILINE))
        for option, kind in kinds.items():
            typo = misspelt(option, kinds, draw)
            yield Case("option", f"{typo} for {option}", (*words, typo, "1"), suggests=option)
            repeated = min(len(re.findall("FLOAT|INT", kind)), 1 if "[" in kind else 3)
            values = ["x", "nan", "inf", "-1"] if repeated else ["x"] if re.match(r" \{\w+,", kind) else []
            for value in values:
                if (option, value) not in HAVE_A_MEANING:
                    yield Case("value", f"{option} {value}", (*words, option, *[value] * max(1, repeated)))


def wrong_keys(draw: random.Random) -> Iterator[Case]:
    """Yield the same command with a ``run.json`` of it in which something is wrong."""
    whole = saved_run()
    for place in places(whole["run"]):
        *above, key = place
        for kind in ("misspelt", "missing", "one more", "twice", "of another type"):
            content = copy.deepcopy(whole)
            holder = content["run"]
            for name in above:
                holder = holder[name]
            text = None
            match kind:
                case "misspelt":
                    holder[misspelt(key, holder, draw)] = holder.pop(key)
                case "missing":
                    del holder[key]
                case "one more":
                    holder[misspelt(key, holder, draw)] = holder[key]
                case "twice":
                    text = json.dumps(replace_key(content, holder, key)).replace('"key again"', json.dumps(key))
                case _:
                    holder[key] = {"of": "another type"}
            name = f"run.json {'.'.join(place)} {kind}"
            yield Case(kind, name, COMMANDS["pretrain"], run_json=text or json.dumps(content))


def replace_key(content: dict[str, Any], holder: dict[str, Any], key: str) -> dict[str, Any]:
    """Put a key, of which the name is to be replaced by ``key``, beside it."""
    holder["key again"] = holder[key]
    return content


def saved_run() -> dict[str, Any]:
    """Return what ``run.json`` of the command holds, by letting it begin."""
    found: dict[str, Any] = {}

    def note(run: Any, *_: object) -> Path:
        found.update({"schema": 1, "run": config.to_json(run.resolved(torch.device("cpu"))), "environment": {}})
        return Path("out")

    with patch("covary.cli.pretrain.train", note):
        command(*COMMANDS["pretrain"])
    return found


def places(content: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the path of every value that is no object; the name of a method says its class and is no field."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from ((key, *rest) for rest in places(value))
        elif not (key == "name" and "lr" not in content):
            yield (key,)


def misspelt(word: str, known: Sequence[str] | dict[str, Any], draw: random.Random) -> str:
    """Return a word with one letter of its last part left out, doubled by another, exchanged or swapped."""
    start = word.rfind(".") + 1 or len(word) - len(word.lstrip("-"))
    wrong = word
    while wrong == word or wrong in known or wrong.endswith("."):
        at = draw.randrange(start, len(word))
        letter = draw.choice(string.ascii_lowercase)
        wrong = draw.choice(
            [
                word[:at] + word[at + 1 :],
                word[:at] + letter + word[at:],
                word[:at] + letter + word[at + 1 :],
                word[:at] + word[at : at + 2][::-1] + word[at + 2 :],
            ]
        )
    return wrong


def help_of(words: Sequence[str]) -> str:
    """Return the help text of a command."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        main([*words, "--help"])
    return out.getvalue()


def lenient(kind: Any, argv: Sequence[str], *, prog: str, description: str, default: Any) -> Any:
    """Parse options as a parser does that passes over what it does not know."""
    return tyro.cli(kind, args=argv, default=default, return_unknown_args=True)[0]


ROW = Row(
    id="C8",
    promise="A misspelt option or key, and a value that cannot be, is refused in one line before any image is read",
    trials={"ci": ALL, "release": ALL},
    check=check,
    mutants={
        "unknown options pass": replaced("covary.cli.pretrain.parse", lenient),
        "a key may be there twice": replaced("covary.rundir._no_key_twice", dict),
        "numbers are not looked at": replaced("covary.augment.recipe.check_number", lambda *_, **__: None),
    },
    mutant_trials=140,
)
