"""Optional third parties of the data room, one library per file, imported when constructed."""
