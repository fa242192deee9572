"""The SQL of revision 0005."""
