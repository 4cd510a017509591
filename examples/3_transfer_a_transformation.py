"""Read what was done to one image off a pair, and do it to the features of another: STL's code and hypernetwork."""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import covary
from covary.augment import apply
from covary.data import Fit, load
from covary.evaluation.movers import own_mover
from covary.evaluation.source import resolve
from covary.evaluation.transformations import CONDITIONS, draw, only, unchanged
from covary.methods import CodeMover

PAIRS, VARIANTS, SEED = 50, 20, 0


def transfer(mover: CodeMover, before: Tensor, after: Tensor, other: Tensor) -> Tensor:
    """Return where features ``other`` go when what led from ``before`` to ``after`` is done to their images."""
    code = mover.code(before, after)
    return mover.move(code, other)


def rank(moved: Tensor, variants: Tensor, right: int) -> float:
    """Return the mean place of the right one among real variants (v, n, D), nearest first."""
    similarity = F.cosine_similarity(moved, variants, dim=2)
    return (1 + (similarity > similarity[right]).sum(dim=0)).double().mean().item()


@torch.no_grad()
def show(folder: Path) -> None:
    source = resolve(folder)
    mover, encoder, trained = own_mover(source, "own", torch.device("cpu")), source.encoder.eval(), source.recipe
    if not isinstance(mover, CodeMover) or trained is None:
        sys.exit(f"{folder} reads no codes; give a run of stl.")

    recipe = only(trained, CONDITIONS["all"], views=VARIANTS)  # crops and colours, shared by the images of a pair
    images, _ = load("shapes:n=500", split="test", fit=Fit.evaluate(recipe.size)).images(torch.arange(2 * PAIRS))
    start = encoder(apply(images, unchanged(recipe, 2 * PAIRS)[None], recipe)[0])
    views = torch.stack([encoder(v) for v in apply(images, draw(recipe, 2 * PAIRS, seed=SEED, stream="x"), recipe)])

    example, other = slice(0, None, 2), slice(1, None, 2)
    moved = [transfer(mover, start[example], view[example], start[other]) for view in views]
    with_code = sum(rank(rows, views[:, other], v) for v, rows in enumerate(moved)) / VARIANTS
    left = sum(rank(start[other], views[:, other], v) for v in range(VARIANTS)) / VARIANTS
    print(f"of {VARIANTS} variants of the other image the right one is number {with_code:.1f} to the moved features,")
    print(f"number {left:.1f} to features left where they were; by chance it is number {(VARIANTS + 1) / 2:.1f}")


if __name__ == "__main__":
    run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/transfer")
    if not (run / "run.json").exists():
        covary.pretrain(recipe="demo", data="shapes:n=512", epochs=2, out=run)
    show(run)
