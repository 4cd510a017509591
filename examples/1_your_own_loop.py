"""STL in a loop of your own: covary gives the method, the augmentation and the loss; the loop is plain PyTorch."""

import torch

from covary.augment import make_views, preset
from covary.data import Batches, Fit, load, normalization
from covary.methods import STL
from covary.nets import build_encoder

SIZE, EPOCHS, BATCH, SEED = 32, 1, 64, 0


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(SEED)
    store = load("shapes:n=512", split="train", fit=Fit.train(SIZE))
    batches = Batches(store, batch_size=BATCH, seed=SEED, device=device)
    mean, std = normalization("shapes")
    recipe = preset("paper", size=SIZE, mean=mean, std=std)  # partners share crop and colour jitter

    encoder, features = build_encoder("resnet8", stem="cifar")
    method = STL(weight_trans=0.2).build(encoder, features, recipe).to(device)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.03, momentum=0.9, weight_decay=5e-4)

    step, total = 0, EPOCHS * batches.steps_per_epoch
    for epoch in range(EPOCHS):
        for batch in batches.epoch(epoch):
            terms = method(make_views(batch, recipe, seed=SEED))
            optimizer.zero_grad()
            terms["loss"].backward()
            optimizer.step()
            step += 1
            method.after_step(step / total)  # the teachers of bases that have one
            print("  ".join(f"{name} {value.item():.3f}" for name, value in terms.items()))


if __name__ == "__main__":
    main()
