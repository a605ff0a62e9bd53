"""Firmware for MLPerf Tiny's runner, a client that others wrote."""
