"""How week12 is put where it runs; nothing here is part of the installed program."""
