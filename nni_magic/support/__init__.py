"""What every room of the package needs: errors, files, and shims for NNI on libraries of today."""
