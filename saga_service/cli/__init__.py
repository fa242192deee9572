"""The command line: `main` has the table of commands.

Arrows go one way: `commands` (one file each) stand on `checks` (the doctor's), those on `console` (what is printed),
that on `access` (what is read from the servers and the definitions, and what is sent to them), and all on `exits` (how
a command ends).
"""
