"""The corpus of patient diaries: what to write about, the teacher pipeline, checks and splits."""
