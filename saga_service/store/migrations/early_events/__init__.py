"""The SQL of revision 0004, a module for each subject; `versions/0004_early_events.py` lists them in their order."""
