"""Output for people and programs: tables, JSON, the story of a saga, and the command to type next."""
