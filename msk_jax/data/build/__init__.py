"""From studies and a manifest to records and shards."""
