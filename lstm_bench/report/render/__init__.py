"""From pages to LaTeX and HTML."""
