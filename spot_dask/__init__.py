"""spot-dask: Sequential Parameter Optimization for PyTorch on Dask."""

__version__ = "0.1.0"
