"""What a kernel costs: grids of cases, a float64 reference, bare frameworks, rooflines.

Imports what `sweep` imports; neither of the two imports the other.
"""
