// Scaffold: goes when the target gets its first file.
