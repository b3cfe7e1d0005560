"""Score detections against labels: AP, and its interval over the pictures."""
