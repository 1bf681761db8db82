"""A small convolutional network on synthetic pictures, in the shape of the usual hyperparameter tuning tutorial."""

import rungwise as rw

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class Net(nn.Module):
    def __init__(self, channels=8, hidden=32):
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, 2 * channels, 3, padding=1)
        self.fc1 = nn.Linear(2 * channels * 4 * 4, hidden)
        self.fc2 = nn.Linear(hidden, 4)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        return self.fc2(F.relu(self.fc1(x)))


def load_data(count=600, seed=0):
    """Pictures of 16 x 16 with a bright bar: its direction is the class."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.7 * torch.randn(count, 1, 16, 16, generator=generator)
    labels = torch.randint(4, (count,), generator=generator)
    places = torch.randint(4, 12, (count,), generator=generator)
    for image, label, place in zip(images, labels, places):
        rows = torch.arange(16)
        columns = {0: torch.full((16,), place), 1: rows, 2: rows.flip(0)}.get(int(label))
        if columns is None:
            image[0, place, :] += 1.5
        else:
            image[0, rows, columns] += 1.5
    return TensorDataset(images, labels)


def train_net(config, run):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    trainset, valset = random_split(load_data(), [480, 120], torch.Generator().manual_seed(1))
    trainloader = DataLoader(trainset, batch_size=config["batch_size"], shuffle=True)
    valloader = DataLoader(valset, batch_size=60)

    net = Net(config["channels"], config["hidden"]).to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=config["lr"], momentum=0.9)
    criterion = nn.CrossEntropyLoss()

    run.track(net=net, optimizer=optimizer)
    for epoch in run.epochs:
        net.train()
        running_loss = 0.0
        for inputs, labels in trainloader:
            inputs, labels = inputs.to(device), labels.to(device)
            optimizer.zero_grad()
            loss = criterion(net(inputs), labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item() * len(labels)

        net.eval()
        correct = 0
        with torch.no_grad():
            for inputs, labels in valloader:
                outputs = net(inputs.to(device))
                correct += (outputs.argmax(1) == labels.to(device)).sum().item()
        accuracy = correct / len(valset)
        run.report(accuracy=accuracy, loss=running_loss / len(trainset))
        print(f"epoch {epoch}: loss {running_loss / len(trainset):.3f}, accuracy {accuracy:.3f}")
    return net


def test_accuracy(net, device="cpu"):
    images, labels = load_data(300, seed=1).tensors
    with torch.no_grad():
        outputs = net.eval().to(device)(images.to(device))
    return (outputs.argmax(1).cpu() == labels).float().mean().item()


def suggest(trial):
    sizes = {name: trial.suggest_int(name, low, 4 * low) for name, low in (("channels", 4), ("hidden", 16))}
    return {"lr": trial.suggest_float("lr", 1e-4, 0.1, log=True), "batch_size": 16, **sizes}


BASELINE = {"lr": 0.01, "channels": 8, "hidden": 32}
test = lambda net, run: {"accuracy": test_accuracy(net)}
SPACE = rw.Space(suggest=suggest, train=train_net, test=test, baseline=BASELINE, metric="accuracy", epochs=9)

if __name__ == "__main__":
    rw.search(SPACE, trials=20)
