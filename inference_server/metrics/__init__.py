"""Counts and durations of requests, kept in memory that all workers share, and their exposition."""
