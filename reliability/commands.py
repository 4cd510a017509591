"""The command line in this process: what it answered, and the options of a run that takes a moment."""

import contextlib
import io
import os
from dataclasses import dataclass

from covary.cli import main

QUICK = (
    *("--encoder", "resnet8", "--image-size", "8", "--epochs", "1", "--device", "cpu"),
    *("--knn-epochs", "-1", "--compile", "off", "--tracking.no-progress"),
)
SMALL = ("--method.base.head-hidden", "8", "--method.code-hidden", "8", "--method.code", "4")
TINY = (*QUICK, *SMALL)


@dataclass(frozen=True)
class Answer:
    """Exit code, standard output and standard error of a command."""

    code: int
    out: str
    err: str

    @property
    def one_line(self) -> bool:
        """Whether standard error is one line of ours, as it is where input is refused."""
        return self.err.startswith("covary: ") and self.err.count("\n") == 1


def command(*arguments: str) -> Answer:
    """Run a command of covary's in this process."""
    out, err = io.BytesIO(), io.BytesIO()
    with (
        contextlib.redirect_stdout(io.TextIOWrapper(out, encoding="utf-8", write_through=True)),
        contextlib.redirect_stderr(
            io.TextIOWrapper(err, encoding="utf-8", errors="backslashreplace", write_through=True)
        ),
    ):
        code = main(arguments)
        return Answer(code, os.fsdecode(out.getvalue()), os.fsdecode(err.getvalue()))
