"""What a cohort is made of, its manifest, and a draft of one."""
