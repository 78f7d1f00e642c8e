"""A training script as people have it: arguments in, lines out. It knows nothing of spot-dask."""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


def main():
    parser = argparse.ArgumentParser(description="Train a perceptron on handwritten digits.")
    parser.add_argument("--lr", type=float, default=0.01, help="learning rate")
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--hidden", type=int, default=32, help="units of the hidden layer")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    digits = load_digits()
    images = torch.tensor(digits.data / 16, dtype=torch.float32)
    train, test = random_split(TensorDataset(images, torch.tensor(digits.target)), [0.8, 0.2])
    net = nn.Sequential(nn.Linear(64, args.hidden), nn.ReLU(), nn.Linear(args.hidden, 10))
    optimizer = torch.optim.SGD(net.parameters(), args.lr, momentum=args.momentum)
    for epoch in range(1, args.epochs + 1):
        for x, y in DataLoader(train, args.batch_size, shuffle=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
        x, y = test[:]
        with torch.no_grad():
            output = net(x)
        loss = nn.functional.cross_entropy(output, y).item()
        accuracy = (output.argmax(1) == y).float().mean().item()
        print(
            f"Epoch {epoch}: average loss: {loss:.4f}, accuracy: {100 * accuracy:.1f}%", flush=True
        )


if __name__ == "__main__":
    main()
