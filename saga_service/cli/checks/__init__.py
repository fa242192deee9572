"""The doctor's checks. Each looks at one thing and says what it found; none changes anything."""
