"""Connects this process to the GPU by CUDA's driver alone, without torch.

python -m search.runtime.cuda      # prints "connected", or the error, and waits for the end of its input
"""

import ctypes
import os
import sys


def connect() -> None:
    """Create this process's context on its first GPU, the one that torch uses later.

    Raises:
        OSError: the driver is missing, or reports an error.
    """
    os.environ.setdefault("CUDA_MODULE_LOADING", "LAZY")  # torch sets it too, but only before the first context
    cuda = ctypes.CDLL("libcuda.so.1")
    device, context = ctypes.c_int(), ctypes.c_void_p()
    _check(cuda, cuda.cuInit(0))
    _check(cuda, cuda.cuDeviceGet(ctypes.byref(device), 0))
    _check(cuda, cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device))


def _check(cuda: ctypes.CDLL, code: int) -> None:
    if code:
        text = ctypes.c_char_p()
        cuda.cuGetErrorString(code, ctypes.byref(text))
        raise OSError(f"CUDA error {code}, {(text.value or b'unknown').decode(errors='replace')}")


def main() -> None:
    """Connect, say so, and keep the connection until the input ends."""
    try:
        connect()
    except OSError as error:
        print(error, flush=True)
        return
    print("connected", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
