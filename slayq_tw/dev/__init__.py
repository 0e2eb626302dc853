"""Development mode: everything that SlayQ needs, on one machine, without any setting. Not used by the daemon."""
