"""Is all well? Reads everything, mends nothing.

Imports everything.
"""
