from __future__ import annotations

import subprocess
import sys

FIRST = """
import sys
from varloop.testing import trial

trial({"problem": {"kind": "maxcut", "edges": [[0, 1, 1.0]]}, "shots": 8, "budget": {"iterations": 1}})
print("qiskit_ibm_runtime" in sys.modules)
"""
THEN = """
from qiskit.transpiler import Target, generate_preset_pass_manager

manager = generate_preset_pass_manager(1, target=Target(num_qubits=1), translation_method="ibm_backend")
print("qiskit_ibm_runtime" in sys.modules)
"""


def test_a_run_on_aer_imports_no_plugin_of_another_package() -> None:
    """The plugins that qiskit-ibm-runtime registers are imported by who asks for one, and by nobody else."""
    ran = subprocess.run([sys.executable, "-c", FIRST + THEN], capture_output=True, text=True, check=True)

    assert ran.stdout.split() == ["False", "True"]
