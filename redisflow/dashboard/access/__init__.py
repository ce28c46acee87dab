"""Who may come in, what they may do, and what of payloads they see."""
