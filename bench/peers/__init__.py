"""HS-TasNet beside our tiers on the same songs: trained, run and measured the same way."""
