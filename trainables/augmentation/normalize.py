"""Normalisation of images by the mean and standard deviation of the training images."""

import torch
from torch import Tensor

from trainables.data.dataset import Dataset


class Normalize:
    """Turns the rows of a split into what the network takes: images of zero mean and unit variance over the training
    rows. Tables stay as they are, float32: their network scales them, and bfloat16 cannot tell neighbours apart.
    """

    def __init__(self, dataset: Dataset, *, dtype: torch.dtype = torch.float32, channels_last: bool = True) -> None:
        """Works on the device of the data set.

        Args:
            dataset: its mean and std are used.
            dtype: of what is handed out; a grey level is exact in bfloat16, only the result is rounded.
            channels_last: memory format of the images handed out.
        """
        x = dataset.train.x
        self._dtype = dtype
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        if x.ndim != 4:
            return
        mean, std = (torch.tensor(v, dtype=torch.float64) * 255 for v in (dataset.mean, dataset.std))
        # As large as an image and laid out like one: the product then runs over contiguous memory.
        self._scale, self._bias = (self._like_rows(v, x).to(x.device, dtype) for v in (1 / std, -mean / std))

    def __call__(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) normalised: uint8 in, `dtype` out, never the same memory; a table as it is."""
        if x.ndim != 4:
            return x
        values = x.contiguous(memory_format=self._format).to(self._dtype, copy=True)
        return torch.addcmul(self._bias, values, self._scale, out=values)

    def _like_rows(self, values: Tensor, x: Tensor) -> Tensor:
        return values.view(1, -1, 1, 1).expand(1, *x.shape[1:]).contiguous(memory_format=self._format)
