"""What one arm needs: study data, model, device, monitor."""
