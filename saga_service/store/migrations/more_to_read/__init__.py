"""The SQL of revision 0003: views alone."""
