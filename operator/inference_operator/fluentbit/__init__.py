"""Logs as intent → a configuration of Fluent Bit. Pure; knows no AWS call and no task definition."""
