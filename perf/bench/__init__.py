# SPDX-License-Identifier: Apache-2.0
"""What `make bench` measures, a module for each group of rows, and what the rows share."""
