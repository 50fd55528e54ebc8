"""What a deploy costs, beside what people would use instead; see `make bench`."""
