"""The ground state of H2 (0.735 Å, STO-3G, Jordan-Wigner): exact, and with 4,096 shots a circuit.

The ansatz rotates the Hartree-Fock state |0101⟩ towards the doubly excited |1010⟩ by one angle.
"""

from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import PauliEvolutionGate
from qiskit.quantum_info import SparsePauliOp

import varloop

EXACT = -1.137306  # full configuration interaction, hartree
NUCLEAR_REPULSION = 0.7199689944

H2 = SparsePauliOp.from_list(
    [
        ("IIII", -0.8105479805 + NUCLEAR_REPULSION),
        *((pauli, 0.1721839326) for pauli in ("IIIZ", "IZII")),
        *((pauli, -0.2257534922) for pauli in ("IIZI", "ZIII")),
        *((pauli, 0.1209126326) for pauli in ("IIZZ", "ZZII")),
        *((pauli, 0.1661454326) for pauli in ("ZIIZ", "IZZI")),
        ("IZIZ", 0.1689275387),
        ("ZIZI", 0.1746434307),
        *((pauli, 0.0452327999) for pauli in ("YYYY", "XXYY", "YYXX", "XXXX")),
    ]
)


def ansatz() -> QuantumCircuit:
    """exp(−i θ/2 · XXXY) |0101⟩."""
    circuit = QuantumCircuit(4)
    circuit.x([0, 2])
    circuit.append(PauliEvolutionGate(SparsePauliOp("XXXY"), time=Parameter("θ") / 2), range(4))
    return circuit


def main() -> None:
    exact = varloop.submit(circuit=ansatz(), observable=H2, optimizer="l-bfgs-b", seed=1, budget=20).result()
    print(f"exact    {exact.value:.6f} Ha after {exact.iterations} iterations ({exact.reason})")
    assert abs(exact.value - EXACT) < 1e-6

    sampled = varloop.submit(
        circuit=ansatz(), observable=H2, optimizer="rotosolve", shots=4096, seed=1, budget=4
    ).result()
    print(f"sampled  {sampled.value:.4f} ± {sampled.error:.4f} Ha with {sampled.shots:,} shots")
    assert abs(sampled.value - EXACT) < 4 * sampled.error


if __name__ == "__main__":
    main()
