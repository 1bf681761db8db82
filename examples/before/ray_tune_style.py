"""A small convolutional network on synthetic pictures, in the shape of the usual hyperparameter tuning tutorial."""

import argparse

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


def train_net(config, epochs=9):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    trainset, valset = random_split(load_data(), [480, 120], torch.Generator().manual_seed(1))
    trainloader = DataLoader(trainset, batch_size=config["batch_size"], shuffle=True)
    valloader = DataLoader(valset, batch_size=60)

    net = Net(config["channels"], config["hidden"]).to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=config["lr"], momentum=0.9)
    criterion = nn.CrossEntropyLoss()

    for epoch in range(epochs):
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
        print(f"epoch {epoch}: loss {running_loss / len(trainset):.3f}, accuracy {accuracy:.3f}")
    return net


def test_accuracy(net, device="cpu"):
    images, labels = load_data(300, seed=1).tensors
    with torch.no_grad():
        outputs = net.eval().to(device)(images.to(device))
    return (outputs.argmax(1).cpu() == labels).float().mean().item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=16)
    args = parser.parse_args()
    print(f"accuracy on the test set: {test_accuracy(train_net(vars(args))):.3f}")
