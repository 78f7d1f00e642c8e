"""The worker's side of a run: what happens on a worker, and in the trainings it starts there.

Dask calls ``supervisor.run_trial`` on a worker once for every attempt at a trial. It starts the
training in a process of its own (``training_main``), follows it and returns its outcome. Nothing
here knows the coordinator; ``spot_dask.executors`` is its side.
"""
