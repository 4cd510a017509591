import pytest
import torch
from torch import nn

from covary.errors import InputError
from covary.evaluation.features import extract

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
CPU = torch.device("cpu")


class Encoder(nn.Module):
    """A small encoder whose batch normalisation and dropout tell training from evaluation."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images).mean((2, 3))


def test_features_are_the_encoders_on_normalised_images(make_store) -> None:
    store, encoder = make_store([0, 1, 2, 0, 1]), Encoder()
    found = extract(encoder, store, mean=MEAN, std=STD, device=CPU, batch_size=2)
    encoder.eval()
    for row, feature in enumerate(found):
        image = store.pixels.view(5, 3, 8, 8)[row].double() / 255
        image = (image - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
        torch.testing.assert_close(feature, encoder(image[None].float())[0].detach(), rtol=1e-4, atol=1e-5)
    assert found.dtype == torch.float32
    assert not found.requires_grad


def test_the_encoder_is_left_as_it_was(make_store) -> None:
    encoder = Encoder().train()
    encoder.layers[1].eval()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    extract(encoder, make_store([0, 1, 2]), mean=MEAN, std=STD, device=CPU)
    assert [module.training for module in encoder.layers] == [True, False, True, True]
    assert encoder.training
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_rows_choose_images(make_store) -> None:
    store, encoder = make_store([0, 1, 2, 0, 1]), Encoder()
    whole = extract(encoder, store, mean=MEAN, std=STD, device=CPU)
    some = extract(encoder, store, mean=MEAN, std=STD, device=CPU, rows=torch.tensor([4, 1]))
    torch.testing.assert_close(some, whole[[4, 1]])


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (nn.Identity(), r"The encoder returned \(3, 3, 8, 8\) for 3 images; expected a tensor \(3, D\)"),
        (
            nn.Sequential(nn.Conv2d(3, 4, 9)),
            r"The encoder cannot take images of shape \(3, 3, 8, 8\) .*check image_size",
        ),
        (nn.LSTM(8, 2), "The encoder "),
    ],
)
def test_an_encoder_of_another_kind_is_refused(make_store, encoder: nn.Module, message: str) -> None:
    with pytest.raises(InputError, match=message):
        extract(encoder, make_store([0, 1, 2]), mean=MEAN, std=STD, device=CPU)
