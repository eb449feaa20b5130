"""The HTTP server of ``varloop serve``: it takes events from applications and runs them in this process."""
