"""Where alerts and summaries go."""
