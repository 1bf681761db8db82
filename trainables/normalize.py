"""Normalisation of rows by the mean and standard deviation of the training rows."""

import torch
from torch import Tensor

from trainables.data import Dataset


class Normalize:
    """Turns the rows of a split into what the network takes: zero mean and unit variance over the training rows."""

    def __init__(self, dataset: Dataset, *, dtype: torch.dtype = torch.float32, channels_last: bool = True) -> None:
        """Works on the device of the data set.

        Args:
            dataset: its mean and std are used.
            dtype: of what is handed out; a grey level is exact in bfloat16, only the result is rounded.
            channels_last: memory format of the images handed out.
        """
        x = dataset.train.x
        unit = 255 if x.dtype == torch.uint8 else 1
        mean, std = (torch.tensor(v, dtype=torch.float64) * unit for v in (dataset.mean, dataset.std))
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        # As large as an image and laid out like one: the product then runs over contiguous memory.
        self._scale, self._bias = (self._like_rows(v, x).to(x.device, dtype) for v in (1 / std, -mean / std))
        self._dtype = dtype

    def __call__(self, x: Tensor) -> Tensor:
        """Returns rows (N, C, H, W) or (N, F) normalised: uint8 or float32 in, `dtype` out, never the same memory."""
        if x.ndim == 4:
            x = x.contiguous(memory_format=self._format)
        values = x.to(self._dtype, copy=True)
        return torch.addcmul(self._bias, values, self._scale, out=values)

    def _like_rows(self, values: Tensor, x: Tensor) -> Tensor:
        if x.ndim != 4:
            return values[None]
        return values.view(1, -1, 1, 1).expand(1, *x.shape[1:]).contiguous(memory_format=self._format)
