"""The command line in this process: what it answered, and the options of a run that takes a moment."""

import contextlib
import io
from dataclasses import dataclass

from covary.cli import main

QUICK = ("--encoder", "resnet8", "--image-size", "8", "--epochs", "1", "--device", "cpu", "--knn-epochs", "-1")
SMALL = ("--method.base.head-hidden", "8", "--method.code-hidden", "8", "--method.code", "4")
TINY = (*QUICK, *SMALL, "--compile", "off", "--tracking.no-progress")


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
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(arguments)
    return Answer(code, out.getvalue(), err.getvalue())
