"""What people look at: tables and texts, from plain data. Nothing here prints."""
