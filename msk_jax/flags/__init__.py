"""The flags of every verb, as dataclasses. What a verb does is imported when it runs."""
