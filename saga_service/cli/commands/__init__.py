"""The commands, one file each: their arguments and options, and what they do with `console` and `access`."""
