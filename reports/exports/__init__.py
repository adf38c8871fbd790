"""What leaves silicost for other programs: traces, tables, summaries; one file each, text and bytes out, no places."""
