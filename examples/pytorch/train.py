"""Train a small convolutional network in PyTorch and export it as a float ONNX model, with samples to quantise it.

The images are the 1797 handwritten digits (8x8 pixels, values 0..16) that scikit-learn carries, so nothing is
downloaded.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

SEED = 7
EPOCHS = 30


def build_model() -> nn.Sequential:
    """Return the untrained network: a stem, a depthwise separable block, a classifier."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 2 * 2, 10),
    )


def train(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Train for a fixed number of epochs."""
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(32):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimiser.step()
    model.eval()


def main() -> None:
    """Train, measure, and write digits_float.onnx, calibration.npz and test.npz."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent, help="folder to write to")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(SEED)
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[:, np.newaxis]  # channels first, as PyTorch has them
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, digits.target, test_size=360, stratify=digits.target, random_state=SEED
    )
    model = build_model()
    train(model, torch.from_numpy(train_images), torch.from_numpy(train_labels))
    with torch.no_grad():
        answers = model(torch.from_numpy(test_images)).argmax(dim=1).numpy()
    print(f"float accuracy: {np.mean(answers == test_labels):.2%}")

    # One image at a time, and weights in the same file.
    example = torch.from_numpy(test_images[:1])
    torch.onnx.export(
        model,
        (example,),
        out / "digits_float.onnx",
        input_names=["image"],
        output_names=["scores"],
        dynamo=True,
        external_data=False,
    )
    np.savez_compressed(out / "calibration.npz", image=train_images[:300])
    np.savez_compressed(out / "test.npz", image=test_images, labels=test_labels.astype(np.uint8))


if __name__ == "__main__":
    main()
