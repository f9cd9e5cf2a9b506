"""All services on one machine: started together, kept running, stopped together, leaving no process."""
