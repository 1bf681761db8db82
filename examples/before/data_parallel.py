"""A small residual network that tells waves apart by the number of their periods."""

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        layers = [nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)]
        self.inner = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.inner(x)


class Net(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        blocks = [Block(width) for _ in range(depth)]
        self.layers = nn.Sequential(nn.Linear(24, width), *blocks, nn.LayerNorm(width), nn.Linear(width, 3))

    def forward(self, x):
        return self.layers(x)


def load_data(count=960, seed=0):
    """Noisy waves of 24 points; the class is the number of their periods."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=generator)
    phases = 6.28 * torch.rand(count, 1, generator=generator)
    points = torch.linspace(0, 6.28, 24)
    waves = torch.sin((labels[:, None] + 1) * points + phases)
    return waves + 0.8 * torch.randn(count, 24, generator=generator), labels


def accuracy_of(model, x, y):
    model.eval()
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


def main(config, num_epochs=9, device="cpu"):
    x, y = (part.to(device) for part in load_data())
    model = Net(config["width"], config["depth"]).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["lr"])

    for epoch in range(num_epochs):
        model.train()
        for rows in torch.randperm(720).split(48):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        print(f"epoch {epoch}: accuracy {accuracy_of(model, x[720:], y[720:]):.4f}")
    return model


if __name__ == "__main__":
    main({"width": 16, "depth": 2, "lr": 0.003})
