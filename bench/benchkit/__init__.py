"""What the scripts of this folder share: clusters, members, accounts, the workload, tables and plots."""
