"""Tensors as NumPy arrays, and back."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["FLOATS", "INTEGERS", "array_of", "bytes_of", "put", "put_bytes"]

FLOATS: Final = (torch.float32, torch.float16, torch.bfloat16)
"""The types of floats that a switch reduces."""

INTEGERS: Final = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)
"""The types of integers that a switch reduces."""

# By the bytes of an element, the integers that have the same bits.
_BITS: Final = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def array_of(tensor: Any) -> NDArray[Any]:
    """Return the elements of a CPU tensor as an array of shape (n,): floats as float32, integers in their type.

    The tensor's type is in FLOATS or INTEGERS. The array may share the tensor's memory.
    """
    flat = tensor.detach().reshape(-1)
    found: NDArray[Any] = (flat.float() if tensor.is_floating_point() else flat).numpy()
    return found


def bytes_of(tensor: Any) -> NDArray[np.uint8]:
    """Return the bytes of a CPU tensor of any type as uint8 of shape (n,). They may share the tensor's memory."""
    found: NDArray[np.uint8] = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
    return found


def put(tensor: Any, values: NDArray[Any]) -> None:
    """Write the elements of an array of shape (n,) into a tensor of n elements, converted to its type.

    Autograd does not notice, as with other backends.
    """
    _write(tensor, torch.from_numpy(np.ascontiguousarray(values)).to(tensor.dtype))


def put_bytes(tensor: Any, data: NDArray[np.uint8]) -> None:
    """Write bytes into a tensor: uint8 of shape (n,), as many as the tensor has."""
    _write(tensor, torch.from_numpy(np.ascontiguousarray(data)).view(tensor.dtype))


def _write(tensor: Any, flat: Any) -> None:
    """Copy the bits of a flat tensor of the same type. Bits, since NumPy does not know all types of torch."""
    if tensor.numel() == 0:
        return
    if tensor.is_complex():
        tensor, flat = torch.view_as_real(tensor.detach()), torch.view_as_real(flat)
    bits = _BITS[tensor.element_size()]
    tensor.detach().view(bits).numpy()[...] = flat.view(bits).numpy().reshape(tensor.shape)
