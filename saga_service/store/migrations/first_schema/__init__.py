"""The SQL of revision 0001. It never changes; later revisions bring their own."""
