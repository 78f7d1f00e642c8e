"""spot-dask: Sequential Parameter Optimization for PyTorch on Dask.

A ``Study`` is a ``Space`` and a task; ``study.run()`` returns a ``Run``, which tells what it found.
``help(spot_dask.Study)`` has an example, as has every public name; ``spot-dask help`` in a terminal
shows the documentation. ``spot_dask.optuna.SpotSampler`` is the search as a sampler of Optuna.

The public names are loaded when they are first used, so that importing the package (which the
command line does for ``--help``) costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spot_dask.core_models import core_model
    from spot_dask.errors import ClusterError, RunWarning, SpotDaskError, StoreError, StudyError
    from spot_dask.outputs import replacing
    from spot_dask.records import Evaluation, History, Trial
    from spot_dask.run import Run
    from spot_dask.search_cv import SpotSearchCV
    from spot_dask.settings import Budget, Design
    from spot_dask.space import Categorical, Config, Integer, Real, Space
    from spot_dask.study import Study
    from spot_dask.tasks import Context, StoppedEarly
    from spot_dask.tasks.function import FunctionTask
    from spot_dask.tasks.huggingface import HuggingFaceTask as HuggingFaceTask
    from spot_dask.tasks.huggingface import ReportCallback as ReportCallback
    from spot_dask.tasks.lightning import LightningTask as LightningTask
    from spot_dask.tasks.optimizers import optimizer, optimizers
    from spot_dask.tasks.program import ProgramTask
    from spot_dask.tasks.sklearn import SklearnTask
    from spot_dask.tasks.splits import Folds, Given, Split, TimeSplit
    from spot_dask.tasks.torch import Data, Fit, Metric, TorchTask
    from spot_dask.trackers import Listener
    from spot_dask.tuner import Tuner
    from spot_dask.tuner.model import Best
    from spot_dask.warmstart import WarmStart

__version__ = "0.1.0"

_HOMES = {
    "Best": "tuner.model",
    "Budget": "settings",
    "Categorical": "space",
    "ClusterError": "errors",
    "Config": "space",
    "Context": "tasks",
    "Data": "tasks.torch",
    "Design": "settings",
    "Evaluation": "records",
    "Fit": "tasks.torch",
    "Folds": "tasks.splits",
    "FunctionTask": "tasks.function",
    "Given": "tasks.splits",
    "History": "records",
    "HuggingFaceTask": "tasks.huggingface",
    "Integer": "space",
    "LightningTask": "tasks.lightning",
    "Listener": "trackers",
    "Metric": "tasks.torch",
    "ProgramTask": "tasks.program",
    "Real": "space",
    "ReportCallback": "tasks.huggingface",
    "Run": "run",
    "SklearnTask": "tasks.sklearn",
    "Space": "space",
    "Split": "tasks.splits",
    "RunWarning": "errors",
    "SpotDaskError": "errors",
    "SpotSearchCV": "search_cv",
    "StoppedEarly": "tasks",
    "StoreError": "errors",
    "Study": "study",
    "StudyError": "errors",
    "TorchTask": "tasks.torch",
    "TimeSplit": "tasks.splits",
    "Trial": "records",
    "Tuner": "tuner",
    "WarmStart": "warmstart",
    "core_model": "core_models",
    "optimizer": "tasks.optimizers",
    "optimizers": "tasks.optimizers",
    "replacing": "outputs",
}

# Without what needs a package that may not be there: `from spot_dask import *` loads all of it.
__all__ = [
    "Best",
    "Budget",
    "Categorical",
    "ClusterError",
    "Config",
    "Context",
    "Data",
    "Design",
    "Evaluation",
    "Fit",
    "Folds",
    "FunctionTask",
    "Given",
    "History",
    "Integer",
    "Listener",
    "Metric",
    "ProgramTask",
    "Real",
    "Run",
    "RunWarning",
    "SklearnTask",
    "Space",
    "Split",
    "SpotDaskError",
    "SpotSearchCV",
    "StoppedEarly",
    "StoreError",
    "Study",
    "StudyError",
    "TimeSplit",
    "TorchTask",
    "Trial",
    "Tuner",
    "WarmStart",
    "core_model",
    "optimizer",
    "optimizers",
    "replacing",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'spot_dask' has no attribute {name!r}")
    return getattr(import_module(f"spot_dask.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
