"""The worker: claims runs, runs the bodies of their steps, commits what they record. It never imports the client."""
