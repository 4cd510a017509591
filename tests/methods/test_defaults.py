"""The numbers of the papers: every default of every method, every preset, and the settings of the paper's tables.

E.1, E.2, eq. and section are those of the STL paper (arXiv 2501.08712) unless another is named; INFERRED is what it
leaves open.
"""

from typing import Any

import pytest
from torch import nn

from covary.methods import METHODS, STL, SimCLR
from covary.recipes import start_run

PUBLISHED: dict[str, dict[str, Any]] = {
    "simclr": {
        "temperature": 0.2,  # E.1
        "head_layers": 3,  # E.1
        "head_hidden": None,  # E.1, E.2: 512 for ResNet-18, 2048 for ResNet-50
        "embedding": 128,  # E.1, E.2
    },
    "byol": {
        "head_layers": 2,  # E.2
        "head_hidden": 4096,  # E.2
        "embedding": 256,  # E.2
        "predictor_hidden": 4096,  # INFERRED: AugSelf and BYOL
        "momentum": 0.996,  # INFERRED: AugSelf and BYOL
        "teacher": "encoder",  # INFERRED: eq. 15
    },
    "simsiam": {
        "head_layers": 2,  # E.2
        "head_hidden": 2048,  # E.2
        "embedding": 2048,  # E.2
        "predictor_hidden": 512,  # INFERRED: AugSelf and SimSiam
    },
    "barlow-twins": {
        "head_layers": 2,  # E.2
        "head_hidden": 512,  # E.2
        "embedding": 2048,  # E.2
        "off_diagonal": 0.0051,  # INFERRED: Barlow Twins
        "scale": None,  # ours: a mean over the numbers of the embedding, in place of Barlow Twins' sum
    },
    "moco": {
        "head_layers": 2,  # MoCo v3, ResNet-50
        "head_hidden": 4096,  # MoCo v3
        "embedding": 256,  # MoCo v3
        "predictor_hidden": 4096,  # MoCo v3
        "momentum": 0.99,  # MoCo v3
        "teacher": "encoder",  # MoCo v3
        "temperature": 0.2,  # MoCo v3, transformers; for ResNet-50 it has 1
    },
    "vicreg": {
        "head_layers": 3,  # VICReg
        "head_hidden": 2048,  # SIE; VICReg has 8192
        "embedding": 2048,  # SIE; VICReg has 8192
        "invariance": 25 / 25,  # VICReg's 25, 25 and 1, a 25th of each
        "variance": 25 / 25,
        "covariance": 1 / 25,
    },
    "e-ssl": {
        "base": SimCLR(),
        "weight": 0.5,  # section 4; E-SSL has 0.4
        "hidden": 512,  # as AugSelf's
    },
    "augself": {
        "base": SimCLR(),
        "weight": 0.5,  # section 4
        "hidden": 512,  # AugSelf's code
    },
    "sen": {
        "base": SimCLR(),
        "both_ways": False,  # eq. 4
    },
    "equimod": {
        "base": SimCLR(),
        "weight_equi": 1.0,  # section 4
        "temperature_equi": None,  # the base's
        "predictor": "hypernetwork",  # section 4
        "label_width": 128,  # EquiMod's code, of concat alone
        "both_ways": False,  # eq. 4
    },
    "sie": {
        "form": "base",  # section 4
        "base": SimCLR(),
        "invariant": 0.5,  # INFERRED: SIE
        "weight_equi": 1.0,  # section 4
        "both_ways": False,  # eq. 4
        "invariance": 10 / 10,  # SIE's code, as all below: mu, nu and kappa, a tenth of each
        "gamma": 0.45,  # its README
        "variance": 10 / 10,
        "covariance": 1 / 10,
        "hidden": 2048,
    },
    "stl": {
        "base": SimCLR(),
        "weight_inv": 1.0,  # section 4
        "weight_equi": 1.0,  # section 4
        "weight_trans": 0.2,  # section 4
        "temperature_equi": None,  # the base's
        "temperature_trans": None,  # the base's
        "code": 128,  # E.1
        "code_layers": 3,  # E.1
        "code_hidden": 512,  # E.1
        "head_trans_hidden": None,  # INFERRED: as the base's projector of features
        "rank": None,  # the full hypernetwork, section 3
    },
}


def test_every_method_is_in_the_table() -> None:
    assert PUBLISHED.keys() == METHODS.keys()


@pytest.mark.parametrize("name", METHODS)
def test_every_option_has_its_published_default(name: str) -> None:
    assert vars(METHODS[name]()) == PUBLISHED[name]


def test_stl_as_its_authors_code_trains_it() -> None:
    changed = {
        "weight_trans": 0.1,
        "code_layers": 2,
        "code_hidden": 128,
        "head_trans_hidden": 128,
        "base": SimCLR(head_layers=2, head_hidden=512, embedding=128, temperature=0.2),
    }
    assert vars(STL.preset("official_code")) == {**PUBLISHED["stl"], **changed}


@pytest.mark.parametrize(("features", "hidden"), [(512, 512), (2048, 2048)])
def test_width_inside_the_projector_of_simclr(features: int, hidden: int) -> None:
    """E.1 and E.2: that of the encoder's features, ResNet-18's and ResNet-50's."""
    layers = [layer for layer in SimCLR().projector(features, features=features) if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in layers] == [
        (features, hidden),
        (hidden, hidden),
        (hidden, 128),
    ]


@pytest.mark.parametrize(
    ("recipe", "size", "encoder", "epochs"),
    [
        ("stl10", 96, "resnet18", 200),  # E.1; epochs as the authors' code
        ("imagenet100", 224, "resnet50", 500),  # E.2; image size INFERRED
    ],
)
def test_settings_of_the_tables(recipe: str, size: int, encoder: str, epochs: int) -> None:
    run = start_run(recipe=recipe)
    assert (run.data, run.augment.size, run.encoder, run.epochs) == (recipe, size, encoder, epochs)
    assert run.batch_size == 256
    assert (run.method, run.accumulate, run.joint_pass) == (STL(), 1, False)
    assert vars(run.optim) == {
        "name": "sgd",
        "lr": 0.03,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "decay_norm_and_bias": True,  # as the authors' code
        "schedule": "cosine",
        "schedule_by": "step",
        "constant_lr": (),
        "warmup_epochs": 0.0,
    }
