"""Sum pooling: spikes of a patch added up, exact for any patch (an average divides)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from spikeframe.errors import ParameterError


class SumPool2d(nn.Module):
    """Add up patches of an image.

    Args:
        kernel_size: side of the square patch.
        stride: step of the patch; the kernel size by default.

    Raises:
        ParameterError: a size is no positive whole number.
    """

    def __init__(self, kernel_size: int, stride: int | None = None) -> None:
        super().__init__()
        for name, value in (("kernel_size", kernel_size), ("stride", 1 if stride is None else stride)):
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**15:
                raise ParameterError(f"SumPool2d({name}={value!r}): must be a whole number from 1 to {2**15 - 1}.")
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[..., C, H', W']`` sums of ``[..., C, H, W]``."""
        return functional.avg_pool2d(x, self.kernel_size, self.stride, divisor_override=1)

    def extra_repr(self) -> str:
        """Show the geometry."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}"


class PaddedSumPool2d(nn.Module):
    """Sums over patches of an image that are no squares, or stand over its edge.

    Args:
        kernel_size: height and width of a patch.
        stride: steps down and to the right.
        padding: zeros above and below, left and right.
    """

    def __init__(self, kernel_size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[..., C, H', W']`` sums.

        Args:
            x: ``[..., C, H, W]``.
        """
        return functional.avg_pool2d(x, self.kernel_size, self.stride, self.padding, divisor_override=1)
