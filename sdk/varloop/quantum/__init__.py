"""The numbers of a run: circuits, angles, gradients, observables, templates, backends, estimates.

Law: numbers in, numbers out. Nothing here knows events being delivered, a clock, or a run's history; the only
store is the one handed to the template pool. All randomness comes from a seed in the arguments. Qiskit is
imported where it is used, so that what runs in every iteration (angles, gradients, costs) starts without it.

Public are the modules, one noun each; this package itself exports nothing, so that importing it costs nothing.

- :mod:`~varloop.quantum.gates`: what is run of a circuit.
- :mod:`~varloop.quantum.circuits`: canonical QPY bytes, and circuits read from specs.
- :mod:`~varloop.quantum.layouts`: circuits that were compiled before they came.
- :mod:`~varloop.quantum.angles`: the map from a circuit's parameters to the angles of its gates.
- :mod:`~varloop.quantum.curves`: the angles that no linear map gives.
- :mod:`~varloop.quantum.gradients`: which rows an iteration must run, and what they add up to.
- :mod:`~varloop.quantum.grouping`: the terms of an observable that one measurement basis serves.
- :mod:`~varloop.quantum.problems`: what a run minimises, as observable, costs and ansatz.
- :mod:`~varloop.quantum.templates`: compiled circuits.
- :mod:`~varloop.quantum.backends`: what runs a batch.
- :mod:`~varloop.quantum.pool`: templates, each compiled once.
- :mod:`~varloop.quantum.samples`, :mod:`~varloop.quantum.means`, :mod:`~varloop.quantum.readout` and
  :mod:`~varloop.quantum.estimate`: from measured outcomes to values and their errors.
- :mod:`~varloop.quantum.check`: the faults of a spec that need circuits to be seen.
"""
