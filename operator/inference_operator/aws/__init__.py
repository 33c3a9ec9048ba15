"""The only place that knows AWS's SDK. `ports` says what the operator asks;
`clients` asks it; `offline` pretends.
"""
