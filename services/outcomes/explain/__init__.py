"""Why every outcome of a patient is what it is: records used and passed over, windows, limits, and the rule.

`relations` asks the store with the relations that the tables are made of, `document` puts the rows in order, `wording`
says them in words, `text` writes them for reading on a terminal.
"""
