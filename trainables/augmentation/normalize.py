"""Normalisation of images by the mean and standard deviation of the training images."""

import torch
from torch import Tensor

from trainables.data.dataset import Dataset


class Normalize:
    """Converts the rows of a split to inputs of a network: images with zero mean and unit variance on the training
    rows.

    Tables stay float32 and unchanged: their network scales them, and bfloat16 would merge close values.
    """

    def __init__(self, dataset: Dataset, *, dtype: torch.dtype = torch.float32, channels_last: bool = True) -> None:
        """
        Args:
            dataset: its mean and std are used.
            dtype: type of the result; a grey level is exact in bfloat16, so only the result is rounded.
            channels_last: memory format of the result.
        """
        x = dataset.train.x
        self._dtype = dtype
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        if x.ndim != 4:
            return
        mean, std = (torch.tensor(v, dtype=torch.float64) * 255 for v in (dataset.mean, dataset.std))
        # as large as an image and with the same layout, so that the product runs over contiguous memory
        self._scale, self._bias = (self._like_rows(v, x).to(x.device, dtype) for v in (1 / std, -mean / std))

    def __call__(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) normalised: uint8 in, `dtype` out, never the same memory; a table as it is."""
        if x.ndim != 4:
            return x
        values = x.contiguous(memory_format=self._format).to(self._dtype, copy=True)
        return torch.addcmul(self._bias, values, self._scale, out=values)

    def _like_rows(self, values: Tensor, x: Tensor) -> Tensor:
        return values.view(1, -1, 1, 1).expand(1, *x.shape[1:]).contiguous(memory_format=self._format)
