"""Sources of definitions: Python modules and YAML files, read into plain values with the place of each.

Nothing is known to be right here. Every saga becomes a `SagaSource`, whatever it was written in.
"""
