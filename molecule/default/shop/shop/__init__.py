"""The shop, an application that makes use of what the role can be told."""
