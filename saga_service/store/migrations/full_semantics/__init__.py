"""The SQL of revision 0002, a module for each subject; `versions/0002_full_semantics.py` lists them in their order."""
