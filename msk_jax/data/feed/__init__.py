"""From shards to batches: voxels through a cache, orders, augmentation on the device."""
