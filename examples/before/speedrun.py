"""Trains a small ResNet-like network as fast as it can: whole batches on the device, a triangular rate, label smoothing,
averaged weights, alternating flips, test-time augmentation. The data are synthetic pictures of 16 x 16."""

import math
import time

import torch
import torch.nn.functional as F
from torch import nn

hyp = {
    "opt": {"epochs": 9, "batch_size": 50, "lr": 0.1, "momentum": 0.85, "weight_decay": 0.005, "label_smoothing": 0.1},
    "net": {"width": 8},
    "aug": {"flip": True, "translate": 2},
}


class Loader:
    """Keeps all pictures on the device, augments a whole epoch at once, and shuffles by indexing."""

    def __init__(self, count, batch_size, train, seed, device):
        g = torch.Generator().manual_seed(seed)
        base = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(7))
        self.labels = torch.randint(4, (count,), generator=g)
        images = F.interpolate(base, size=16, mode="bilinear")[self.labels]
        self.images = (images + 3.0 * torch.randn(count, 3, 16, 16, generator=g)).to(device)
        self.labels = self.labels.to(device)
        self.batch_size, self.train, self.epoch = batch_size, train, 0

    def __len__(self):
        return len(self.images) // self.batch_size if self.train else math.ceil(len(self.images) / self.batch_size)

    def __iter__(self):
        images = self.images
        if self.train and hyp["aug"]["flip"] and self.epoch % 2:
            images = images.flip(-1)
        if self.train and hyp["aug"]["translate"]:
            shift = torch.randint(-hyp["aug"]["translate"], hyp["aug"]["translate"] + 1, (2,)).tolist()
            images = images.roll(shift, dims=(-2, -1))
        self.epoch += 1
        order = (torch.randperm if self.train else torch.arange)(len(images), device=images.device)
        for i in range(len(self)):
            rows = order[i * self.batch_size : (i + 1) * self.batch_size]
            yield images[rows], self.labels[rows]


class Block(nn.Module):
    def __init__(self, channels_in, channels_out):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)

    def forward(self, x):
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.norm2(self.conv2(x)) + x)


def make_net(width, device):
    net = nn.Sequential(
        nn.Conv2d(3, width, 2, stride=2), nn.GELU(), Block(width, 2 * width), Block(2 * width, 2 * width),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(2 * width, 4, bias=False),
    )  # fmt: skip
    return net.to(device).to(memory_format=torch.channels_last)


class Average:
    """An exponential moving average of everything in the network."""

    def __init__(self, net):
        self.state = {k: v.clone() for k, v in net.state_dict().items()}

    def update(self, net, decay):
        for ours, theirs in zip(self.state.values(), net.state_dict().values()):
            if ours.dtype.is_floating_point:
                ours.lerp_(theirs, 1 - decay)

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        for ours, theirs in zip(self.state.values(), state.values()):
            ours.copy_(theirs)


def triangle(steps, start=0.2, peak=0.3):
    return lambda i: min(start + (1 - start) * i / (peak * steps), max(0.0, (steps - i) / ((1 - peak) * steps)))


@torch.no_grad()
def evaluate(net, loader):
    net.eval()
    right = [((net(x) + net(x.flip(-1))).argmax(1) == y).float().sum() for x, y in loader]
    return (sum(right) / len(loader.images)).item()


def main(hyp, device="cuda" if torch.cuda.is_available() else "cpu"):
    opt = hyp["opt"]
    train_loader = Loader(600, opt["batch_size"], train=True, seed=0, device=device)
    valid_loader = Loader(200, 200, train=False, seed=1, device=device)
    steps = opt["epochs"] * len(train_loader)
    net = make_net(hyp["net"]["width"], device)
    average = Average(net)
    decayed = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": opt["weight_decay"]}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=opt["lr"], momentum=opt["momentum"], nesterov=True)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, triangle(steps))
    loss_fn = nn.CrossEntropyLoss(label_smoothing=opt["label_smoothing"])

    began = time.perf_counter()
    for epoch in range(opt["epochs"]):
        net.train()
        for x, y in train_loader:
            loss = loss_fn(net(x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            scheduler.step()
            average.update(net, decay=0.8)
        accuracy = evaluate(net, valid_loader)
        print(f"{epoch:3d}  loss {loss.item():.3f}  accuracy {accuracy:.3f}  {time.perf_counter() - began:.1f} s")
    net.load_state_dict(average.state_dict())
    print(f"averaged weights: {evaluate(net, valid_loader):.3f}")
    return net


if __name__ == "__main__":
    net = main(hyp)
    print(f"test accuracy: {evaluate(net, Loader(400, 200, train=False, seed=2, device=net[0].weight.device)):.3f}")
