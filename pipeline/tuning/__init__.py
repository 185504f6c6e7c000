"""The search for the loss, its lambda and the network by cross-validation: `flowtag tune`."""
