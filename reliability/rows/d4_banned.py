"""D4: no way by which data become code is in the repository, but for the reviewed places below."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import indent
from types import MappingProxyType

from reliability import bans
from reliability.bans import BANS, facts_of, found
from reliability.row import Count, Figure, Mutant, Row, replaced

HOSTILE = (
    *("pickle", "marshal", "torch.load", "weights_only=False", "allow_pickle=True", "yaml", "compile"),
    *("a module from a file", "os.system", "extract", "TorchScript", "eval"),
)
REVIEWED: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("torch.load", "covary/evaluation/pickled.py"): "the importer: weights_only, after its own checks",
        ("a module from a file", "covary/methods/own.py"): "--method FILE.py runs the user's own file, as it says",
        ("exec", "reliability/reader.py"): "a process of its own that runs the lines that an export printed",
        ("pickle", "reliability/weight_bombs.py"): "writes pickles that grow, reads none",
        ("torch.load", "reliability/rows/d1_hostile.py"): "a mutant: what must not be done",
        ("weights_only=False", "reliability/rows/d1_hostile.py"): "the same",
        ("allow_pickle=True", "reliability/rows/d1_hostile.py"): "the same",
        ("torch.load", "reliability/rows/d3_bombs.py"): "the naive reader of bombs, and a mutant",
        ("weights_only=False", "reliability/rows/d3_bombs.py"): "the same",
        **{
            (thing, "reliability/hostile.py"): "the attacks, and the naive readers that fall for them"
            for thing in HOSTILE
        },
        ("eval", "reliability/rows/d1_hostile.py"): "a mutant: what must not be done",
        ("eval", "reliability/rows/d2_fuzzed.py"): "the same",
        ("Markup", "covary/report/page.py"): "data: addresses, made of base64 and a kind of our own",
        ("HTML from text", "reliability/bans.py"): "the words that are looked for",
        ("a template that trusts", "reliability/bans.py"): "the same",
    }
)


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Look for each banned thing in its samples, where it must be found, and in every file, where it must not."""
    count = Count()
    for thing, ban in list(BANS.items())[:trials]:
        seen = {file for file, facts in bans.files().items() if found(ban, facts)}
        reviewed = {file for name, file in REVIEWED if name == thing}
        count.add(
            thing,
            held=seen == reviewed,
            fired=all(found(ban, facts_of(each)) for each in ban.samples),
            seen=seen ^ reviewed,
        )
    return count.figure(files=len(bans.files()))


def planted(sample: str) -> Mutant:
    """Return the mutant in which one more file of the library holds a banned thing, inside a function."""
    content = f"class Reader:\n    def read(self, f):\n{indent(sample, 8 * ' ')}\n"
    return replaced("reliability.bans.files", lambda: {**FILES, "covary/planted.py": facts_of(content)})


FILES = bans.files()
ROW = Row(
    id="D4",
    promise="No file of the repository unpickles, evaluates text, runs a shell or unpacks an archive unchecked",
    trials={"ci": len(BANS), "release": len(BANS)},
    check=check,
    mutants={
        f"{thing}: {sample.splitlines()[-1]}": planted(sample) for thing, ban in BANS.items() for sample in ban.samples
    },
    mutant_trials=len(BANS),
)
