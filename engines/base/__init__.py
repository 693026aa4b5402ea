"""What every other room uses: options, paths, processes, versions."""
