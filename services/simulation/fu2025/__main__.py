"""`python -m services.simulation.fu2025` writes the checked-in example files."""

from services.simulation.fu2025.example import example_files

if __name__ == "__main__":
    for path, text in example_files().items():
        path.write_text(text, encoding="utf-8")
