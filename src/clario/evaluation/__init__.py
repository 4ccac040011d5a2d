"""Measuring extractors against annotated diaries: metrics, intervals, paired tests, and the report."""
