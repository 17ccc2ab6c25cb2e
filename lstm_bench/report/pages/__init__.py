"""The pages: numbers and sentences, as Markdown and tables."""
