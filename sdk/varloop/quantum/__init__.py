"""The numbers of a run: circuits, angles, gradients, observables, templates, backends.

Law: numbers in, numbers out. No events, no stores but the template pool's, no clock. Importing this package
costs nothing; Qiskit is imported where it is used.
"""
