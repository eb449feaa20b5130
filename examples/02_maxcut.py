"""MaxCut by QAOA on a published graph: marriages among 15 families of Renaissance Florence.

Data: J. F. Padgett and C. K. Ansell, "Robust action and the rise of the Medici, 1400-1434",
American Journal of Sociology 98 (1993), 1259-1319. The best cut, found by trying all, has 17 of 20 edges.
"""

import varloop

BEST_CUT = 17
MARRIAGES = """
    Acciaiuoli-Medici Castellani-Peruzzi Castellani-Strozzi Castellani-Barbadori Medici-Barbadori
    Medici-Ridolfi Medici-Tornabuoni Medici-Albizzi Medici-Salviati Salviati-Pazzi Peruzzi-Strozzi
    Peruzzi-Bischeri Strozzi-Ridolfi Strozzi-Bischeri Ridolfi-Tornabuoni Tornabuoni-Guadagni
    Albizzi-Ginori Albizzi-Guadagni Bischeri-Guadagni Guadagni-Lamberteschi
"""
PAIRS = [pair.split("-") for pair in MARRIAGES.split()]
FAMILIES = sorted({family for pair in PAIRS for family in pair})


def main() -> None:
    edges = [(FAMILIES.index(a), FAMILIES.index(b), 1.0) for a, b in PAIRS]
    run = varloop.submit(
        problem=varloop.MaxCut(edges=edges, layers=2, cvar=0.2),
        optimizer="spsa",
        shots=1024,
        seed=7,
        budget=40,
    )
    result = run.result()
    solution = result.solution
    assert solution is not None
    sides = [
        [name for name, bit in zip(FAMILIES, solution.bits, strict=True) if bit == side] for side in "01"
    ]
    print(f"cut {-solution.cost:.0f} of {len(edges)} edges; bits {solution.bits}, family 0 on the left")
    print(f"  {', '.join(sides[0])}\n  against\n  {', '.join(sides[1])}")
    assert -solution.cost == BEST_CUT == sum(solution.bits[a] != solution.bits[b] for a, b, _ in edges)


if __name__ == "__main__":
    main()
