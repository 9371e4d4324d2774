"""Machine code of a captured density behind a C pointer that a sampler's threads can call without Python.

AOTInductor turns the FX graph into a shared library; a small C function hands it pointers to z and to the
data, and copies value and gradient back. Both files live in a cache folder, named by model, shapes and versions.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bayesaffect import files
from bayesaffect.fusion.engine.capture import Density, graph

SHIM = r"""
#include <stdint.h>
#include <string.h>
#include <math.h>
typedef int32_t (*make_t)(void*, int64_t, const int64_t*, const int64_t*, int64_t, int32_t, int32_t, int32_t, void**);
typedef int32_t (*pointer_t)(void*, void**);
typedef int32_t (*drop_t)(void*);
typedef int32_t (*run_t)(void*, void**, uint64_t, void**, uint64_t, void*, void*);
typedef struct { void* container; double* data; int64_t ndata; make_t make; pointer_t pointer; drop_t drop; run_t run;
                 int64_t count; void (*threads)(int); } context_t;
static __thread int limited = 0;
int64_t density(uint64_t n, const double* z, double* gradient, double* value, void* user) {
    context_t* c = (context_t*)user;
    int64_t size_z = (int64_t)n, one = 1;
    void *in[2], *out[1], *raw;
    if (!limited) { limited = 1; if (c->threads) c->threads(1); } /* chains run side by side: one thread in each */
    if (c->make((void*)z, 1, &size_z, &one, 0, 7, 0, 0, &in[0])) return -2;
    if (c->make(c->data, 1, &c->ndata, &one, 0, 7, 0, 0, &in[1])) return -3;
    if (c->run(c->container, in, 2, out, 1, 0, 0)) return -4;
    if (c->pointer(out[0], &raw)) return -5;
    const double* result = (const double*)raw;
    *value = result[0];
    memcpy(gradient, result + 1, n * sizeof(double));
    c->drop(out[0]);
    __atomic_fetch_add(&c->count, 1, __ATOMIC_RELAXED);
    if (!isfinite(*value)) return 4;
    for (uint64_t i = 0; i < n; i++) if (!isfinite(gradient[i])) return 3;
    return 0;
}
int64_t expand(uint64_t n, uint64_t m, const double* z, double* out, void* user) {
    memcpy(out, z, n * sizeof(double));
    return 0;
}
"""

OPTIONS = {
    "cpp.threads": 1,
    "cpp.enable_floating_point_contract_flag": "fast",
    # Up to 100 kB of intermediate results on the stack: allocating them cost more than computing them.
    "aot_inductor.allow_stack_allocation": True,
}
SIGNATURE = ctypes.CFUNCTYPE(
    ctypes.c_int64, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p
)


class Context(ctypes.Structure):
    """What the C function is handed on every call."""

    _fields_ = (
        ("container", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
        ("ndata", ctypes.c_int64),
        ("make", ctypes.c_void_p),
        ("pointer", ctypes.c_void_p),
        ("drop", ctypes.c_void_p),
        ("run", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("threads", ctypes.c_void_p),
    )


@dataclass(frozen=True)
class Library:
    """A compiled density on disk: ``code`` from AOTInductor, ``shim`` from the C compiler."""

    code: Path
    shim: Path


def cache_folder(cache: Path | None) -> Path:
    """``cache`` itself, or the user's cache folder."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(cache) if cache is not None else home / "bayesaffect"


def compiler() -> str | None:
    """The C compiler, if there is one (AOTInductor also needs its C++ sibling)."""
    found = shutil.which("gcc") or shutil.which("clang")
    return found if found and (shutil.which("g++") or shutil.which("clang++")) else None


def compiled(density: Density, flat: Tensor, name: str, cache: Path | None) -> Library:
    """Load the library of this density from the cache, or compile it (20 to 40 s).

    ``name`` must say all that the graph depends on besides shapes: the model and the version of its source.
    """
    key = files.key(name, density.ndim, density.layout, torch.__version__, SHIM, OPTIONS)
    folder = cache_folder(cache) / "density" / key
    library = Library(folder / "code.so", folder / "shim.so")
    if library.code.exists() and library.shim.exists():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    gm = graph(density, flat)
    example = (torch.zeros(density.ndim, dtype=torch.float64), flat)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch about its own internals
        built = torch._inductor.aot_compile(gm, example, options=OPTIONS)
    with files.atomic(library.shim) as temporary:
        source = temporary.with_suffix(".c")
        source.write_text(SHIM)
        try:
            subprocess.run([compiler(), "-O2", "-shared", "-fPIC", source, "-o", temporary, "-lm"], check=True)
        finally:
            source.unlink()
    with files.atomic(library.code) as temporary:
        shutil.copyfile(built, temporary)
    return library


class Pointer:
    """A loaded library bound to one set of data; holds what the C function needs for as long as it is called."""

    def __init__(self, library: Library, ndim: int, flat: Tensor, instances: int):
        torch_library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        code, shim = ctypes.CDLL(str(library.code)), ctypes.CDLL(str(library.shim))
        create = code.AOTInductorModelContainerCreateWithDevice
        create.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t, ctypes.c_char_p, ctypes.c_char_p]
        self.delete = code.AOTInductorModelContainerDelete
        self.delete.argtypes = [ctypes.c_void_p]
        container = ctypes.c_void_p()
        if create(ctypes.byref(container), instances, b"cpu", None):
            raise RuntimeError(f"the compiled density {library.code} could not be loaded")

        def address(lib, symbol):
            return ctypes.cast(getattr(lib, symbol), ctypes.c_void_p).value

        self.flat = flat.contiguous().clone()
        self.context = Context(
            container,
            self.flat.data_ptr(),
            self.flat.numel(),
            address(torch_library, "aoti_torch_create_tensor_from_blob"),
            address(torch_library, "aoti_torch_get_data_ptr"),
            address(torch_library, "aoti_torch_delete_tensor_object"),
            address(code, "AOTInductorModelContainerRun"),
            0,
            address(torch_library, "omp_set_num_threads") if hasattr(torch_library, "omp_set_num_threads") else None,
        )
        self.ndim = ndim
        self.user = ctypes.addressof(self.context)
        self.density = address(shim, "density")
        self.expand = address(shim, "expand")
        self.function = SIGNATURE(self.density)
        self._keep = (code, shim, torch_library)

    @property
    def evaluations(self) -> int:
        """Gradients taken so far."""
        return self.context.count

    def __call__(self, z):
        """Value and gradient at z (ndim,)."""
        z = np.ascontiguousarray(z, dtype=float)
        gradient, value = np.empty_like(z), ctypes.c_double()
        code = self.function(z.size, z.ctypes.data, gradient.ctypes.data, ctypes.addressof(value), self.user)
        if code:
            raise FloatingPointError(f"the density failed with code {code}")
        return value.value, gradient

    def __del__(self):
        if getattr(self, "context", None) is not None and self.context.container:
            self.delete(self.context.container)
            self.context.container = None
