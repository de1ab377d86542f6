"""Linear programs over an unrolled network: HiGHS chooses lines, and proves nothing by itself."""
