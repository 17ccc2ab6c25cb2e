"""The architecture families, one function each."""
