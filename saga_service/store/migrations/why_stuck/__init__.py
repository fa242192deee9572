"""The SQL of revision 0003."""
