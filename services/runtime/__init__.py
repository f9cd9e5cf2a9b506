"""The edge all services share: environment, clock, tokens, HTTP conventions, metrics and logs."""
