"""One engine per backend: the compiled program that trains is the one that is timed and proved."""
