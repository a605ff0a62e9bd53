"""Counting what an emulated core executes: QEMU with a plugin, and what its record and the ELF file say together."""
