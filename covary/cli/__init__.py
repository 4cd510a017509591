"""The commands. Parsing, printing and exit codes live here; the work is done by the functions of the Python API.

Exit codes: 0 done; 2 the input is wrong (one line); 1 a fault of ours, or a run that cannot go on; 128 + signal after
a checkpoint. This file imports nothing heavy, so that ``covary --help`` is quick; a command imports what it needs.
"""

import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence

from covary.errors import InputError, TrainingError, did_you_mean
from covary.stop import Interrupted
from covary.version import __version__

COMMANDS = ("pretrain", "evaluate", "embed", "report", "explore", "export", "reproduce", "bench")

HELP = f"""covary {__version__}: image encoders whose features co-vary with what was done to the image.

usage: covary COMMAND [OPTIONS]

commands:
  pretrain   train an encoder with STL or another method on any images, or continue a run
  evaluate   measure an encoder: accuracy, equivariance, what it knows of transformations, detection
  embed      write the features of all images as one table, parquet or npz
  report     show what runs did as one HTML page: settings, curves, results, side by side
  explore    show what features do in a browser: analogies, orbits, maps, two runs compared
  export     write a trained encoder for torchvision, timm, ONNX or the Hugging Face hub
  reproduce  make a table or figure of the paper again, beside its numbers
  bench      measure what this machine does: images a second, memory, beside other libraries

  covary COMMAND --help lists the options of a command.
  covary pretrain --recipe demo --out runs/first    is a start that needs no data.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # the name of a folder may be any bytes: they are printed as they are
        sys.stdout.reconfigure(errors="surrogateescape")
    name, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    try:
        if name in ("-h", "--help", "--version"):
            print(__version__ if name == "--version" else HELP.rstrip())
            sys.stdout.flush()
            return 0
        if name not in COMMANDS:
            raise InputError(
                f"'{name}' is no command; expected one of {', '.join(COMMANDS)}.{did_you_mean(name, COMMANDS)}"
            )
        code = importlib.import_module(f"covary.cli.{name}").main(rest)
        sys.stdout.flush()
        return code
    except (InputError, TrainingError) as error:
        complain(str(error), first=error.first)
        return 2 if isinstance(error, InputError) else 1
    except Interrupted as stop:
        complain(str(stop))
        return 128 + stop.signum
    except BrokenPipeError:  # whoever read the output, such as head, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        complain(f"{error.filename or 'the system'}: {error.strerror or error}", first=True)
        return 1
    except KeyboardInterrupt:
        complain("interrupted")
        return 130


def complain(message: str, *, first: bool | None = None) -> None:
    """Print one line on standard error, whatever the message holds.

    first: whether this process was the first of all to fail, and tells why; None where that is not known.
    """
    if speaks() if first is None else first:
        print(f"covary: {' '.join(message.split())}", file=sys.stderr)


def speaks() -> bool:
    """Return whether this process is the first that a launcher started on this machine, or there is no launcher.

    Others stay silent, so that a mistake is told once a machine: some mistakes are those of one machine alone.
    """
    return os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")) == "0"
